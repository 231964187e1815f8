"""Notes on tensors that let backward passes save less memory.

`Recipe`: the tensor is a scaled and shifted copy of one that its norm saves anyway. `layers.norm.batch_norm` writes it;
`ops.lif` reads it and saves two numbers per channel instead of its input.
`Counts`: the tensor holds integers that fit in a byte. `ops.lif` writes it on its spikes; `merge_time`, `split_time`,
`MaxPool` and `recompute_blocks` pass it on; `added` sums it in SEW shortcuts. `layers.conv.SpikeConv2d` reads it and
saves its input in a byte per number.

Parts need not handle notes. A note belongs to one tensor object: any other operation, in place or not, drops it, which
costs only memory. `tests/models/test_kept_bytes.py` checks the bytes that every family saves. There are no notes while
a graph is traced, compiled or transformed (`spikeformers.ops.tracing`).
"""

from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from spikeformers.ops.tracing import runs_eagerly


class Recipe(NamedTuple):
    """The tensor is `made_of * scale + shift`: `[T, B, C, H, W]` and, per channel, `[C, 1, 1]`."""

    made_of: Tensor
    scale: Tensor
    shift: Tensor


class Counts(NamedTuple):
    """The tensor holds integers from 0 to `most`, at most 255."""

    most: int


Note = TypeVar("Note", Recipe, Counts)


def note(x: Tensor, *notes: Recipe | Counts | None) -> Tensor:
    """Writes notes on a tensor if gradients are on, and returns it."""
    if any(notes) and torch.is_grad_enabled() and runs_eagerly(x):
        vars(x)["_noted"] = x._version, notes
    return x


def noted(x: Tensor, kind: type[Note]) -> Note | None:
    """The note of a kind on an unchanged tensor, or None."""
    if torch.compiler.is_compiling() or "_noted" not in vars(x) or not runs_eagerly(x):
        return None
    version, notes = vars(x)["_noted"]
    return next((n for n in notes if isinstance(n, kind)), None) if version == x._version else None


def carried(x: Tensor, moved: Tensor) -> Tensor:
    """`moved`, a rearrangement or selection of the elements of `x`, with the `Counts` of `x`."""
    return note(moved, noted(x, Counts))


def added(x: Tensor, y: Tensor) -> Tensor:
    """`x + y` for equal shapes. The sum of counts is noted as `Counts`."""
    counts, more = noted(x, Counts), noted(y, Counts)
    most = counts.most + more.most if counts and more else 256
    return note(x + y, Counts(most) if most < 256 else None)
