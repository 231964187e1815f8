"""Where samples and time steps are in the tensors inside a model."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

LAYOUTS = ("B", "TB", "BT")


@dataclass(frozen=True)
class Samples:
    """Samples on axis `dim` of a tensor, which holds `before` x samples x `after`: `T B` flattened has T before."""

    dim: int
    before: int = 1
    after: int = 1

    def take(self, x: Tensor, sample: int) -> Tensor:
        """One sample, in the shape it has alone."""
        opened = x.unflatten(self.dim, (self.before, -1, self.after))
        return opened.narrow(self.dim + 1, sample, 1).flatten(self.dim, self.dim + 2)

    def flipped(self, x: Tensor) -> Tensor:
        """The samples in reverse order."""
        return x.unflatten(self.dim, (self.before, -1, self.after)).flip(self.dim + 1).flatten(self.dim, self.dim + 2)


def find_samples(together: torch.Size, alone: torch.Size, samples: int, layout: str) -> list[Samples]:
    """The ways in which a tensor of a batch can hold what one sample alone gives, the likeliest first.

    A flattened axis does not show its order, so there may be several. None if the shapes have no axis of samples, or
    more than one.
    """
    if len(together) != len(alone):
        return []
    other = [dim for dim, (a, b) in enumerate(zip(together, alone, strict=True)) if a != b]
    if len(other) != 1 or together[other[0]] != samples * alone[other[0]]:
        return []
    dim, own = other[0], alone[other[0]]
    ways = [Samples(dim, own // after, after) for after in range(1, own + 1) if own % after == 0]
    return ways[::-1] if layout == "BT" else ways


def find_steps(shape: torch.Size, samples: Samples, steps: int, layout: str) -> int | None:
    """The `pre` for which `reshape(pre, steps, -1)` puts time on axis 1; None if the tensor has no axis of time."""
    for dim in range(samples.dim):
        if shape[dim] == steps:
            return prod(shape[:dim])
    if samples.before % steps == 0:
        return prod(shape[: samples.dim])
    if layout != "BT":
        return None
    if samples.after % steps == 0:
        return prod(shape[: samples.dim + 1]) // samples.after
    dim = samples.dim + 1
    return prod(shape[:dim]) if len(shape) > 2 and dim < len(shape) - 1 and shape[dim] == steps else None
