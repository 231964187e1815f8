"""Time as part of the batch, for layers without memory."""

from torch import Tensor

from spikeformers.ops.notes import carried


def merge_time(x: Tensor) -> Tensor:
    """`[T, B, ...] -> [T B, ...]`."""
    return carried(x, x.flatten(0, 1))


def time_first(x: Tensor) -> Tensor:
    """A loader's batch with time first: `[B, T, C, H, W] -> [T, B, C, H, W]`; images `[B, C, H, W]` are unchanged."""
    return x.transpose(0, 1) if x.ndim == 5 else x


def split_time(x: Tensor, time_steps: int) -> Tensor:
    """`[T B, ...] -> [T, B, ...]`."""
    return carried(x, x.unflatten(0, (time_steps, -1)))
