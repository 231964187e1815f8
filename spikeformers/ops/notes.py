"""What a tensor says of itself to the backward passes that would keep it, so that they keep less.

The output of a norm is a scaled and shifted copy of its input, which the norm's own backward keeps anyway: a neuron
behind it keeps two numbers a channel, and makes the rest again. Spikes and counts of spikes fit in a byte, so that a
convolution keeps a quarter of them, or half. A note belongs to one tensor object as it stands: the first operation on
it, in place or not, loses it. Nothing has to be noted, and nothing is where operations are watched, not run
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


def note(x: Tensor, *notes: Recipe | Counts) -> Tensor:
    """Notes something on a tensor, where a gradient may pass, and returns it."""
    if notes and torch.is_grad_enabled() and runs_eagerly(x):
        x._noted = (x._version, notes)  # pyright: ignore[reportAttributeAccessIssue]
    return x


def noted(x: Tensor, kind: type[Note]) -> Note | None:
    """The note of a kind on a tensor that has not changed since, or None."""
    if torch.compiler.is_compiling() or not hasattr(x, "_noted") or not runs_eagerly(x):
        return None
    version, notes = x._noted  # pyright: ignore[reportAttributeAccessIssue]
    return next((n for n in notes if isinstance(n, kind)), None) if version == x._version else None
