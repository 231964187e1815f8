"""What a tensor says of itself to the backward passes that would keep it, so that they keep less.

`Recipe`, a scaled and shifted copy of what its norm keeps anyway. `layers.norm.batch_norm` writes it; `ops.lif` reads
it: a neuron keeps two numbers a channel, and makes the rest again.
`Counts`, whole numbers that fit in a byte. `ops.lif` writes it on its spikes; `merge_time`, `split_time`, `MaxPool` and
`recompute_blocks` carry it on; `added` sums it, for SEW shortcuts and their like. `layers.conv.SpikeConv2d` reads it: a
convolution keeps a quarter of them, or half.

Parts need not know: they write and read none. A note belongs to one tensor object as it stands: any other operation,
in place or not, loses it, which costs memory and nothing else; `tests/models/test_kept_bytes.py` holds what every
family keeps. Nothing is noted where operations are watched, not run
(`spikeformers.ops.tracing`): compilers see for themselves.
"""

from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from spikeformers.ops.tracing import runs_eagerly


class Recipe(NamedTuple):
    """How a tensor was made: `made_of * scale + shift`, `[T, B, C, H, W]` and a number a channel, `[C, 1, 1]`."""

    made_of: Tensor
    scale: Tensor
    shift: Tensor


class Counts(NamedTuple):
    """That a tensor holds whole numbers from 0 to `most`, at most 255."""

    most: int


Note = TypeVar("Note", Recipe, Counts)


def note(x: Tensor, *notes: Recipe | Counts | None) -> Tensor:
    """Notes something on a tensor, where a gradient may pass, and returns it."""
    if any(notes) and torch.is_grad_enabled() and runs_eagerly(x):
        vars(x)["_noted"] = x._version, notes
    return x


def noted(x: Tensor, kind: type[Note]) -> Note | None:
    """The note of a kind on a tensor that has not changed since, or None."""
    if torch.compiler.is_compiling() or "_noted" not in vars(x) or not runs_eagerly(x):
        return None
    version, notes = vars(x)["_noted"]
    return next((n for n in notes if isinstance(n, kind)), None) if version == x._version else None


def carried(x: Tensor, moved: Tensor) -> Tensor:
    """`moved`, which holds numbers of `x` and no others, with the counts that are noted on `x`."""
    return note(moved, noted(x, Counts))


def added(x: Tensor, y: Tensor) -> Tensor:
    """`x + y`, of two tensors of one shape. Counts and counts are counts."""
    counts, more = noted(x, Counts), noted(y, Counts)
    most = counts.most + more.most if counts and more else 256
    return note(x + y, Counts(most) if most < 256 else None)
