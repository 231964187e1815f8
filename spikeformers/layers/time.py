"""Layers without a memory see time as more batch."""

from torch import Tensor


def merge_time(x: Tensor) -> Tensor:
    """`[T, B, ...] -> [T B, ...]`."""
    return x.flatten(0, 1)


def split_time(x: Tensor, time_steps: int) -> Tensor:
    """`[T B, ...] -> [T, B, ...]`."""
    return x.unflatten(0, (time_steps, -1))
