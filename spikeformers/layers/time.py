"""Time as part of the batch, for layers without memory."""

from collections.abc import Callable

from torch import Tensor

from spikeformers.ops.notes import carried


def merge_time(x: Tensor) -> Tensor:
    """`[T, B, ...] -> [T B, ...]`."""
    return carried(x, x.flatten(0, 1))


def at_each_step(layer: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """A layer of maps `[B, C, H, W]`, without memory or statistics, at every step: `[T, B, ...] -> [T, B, ...]`.

    An input expanded over T (one image at all steps) is computed once.
    """
    steps = x.shape[0]
    if steps > 1 and x.stride(0) == 0:
        y = layer(x[0])
        return y.expand(steps, *y.shape)
    return split_time(layer(merge_time(x)), steps)


def time_first(x: Tensor) -> Tensor:
    """A loader's batch with time first: `[B, T, C, H, W] -> [T, B, C, H, W]`; images `[B, C, H, W]` are unchanged."""
    return x.transpose(0, 1) if x.ndim == 5 else x


def split_time(x: Tensor, time_steps: int) -> Tensor:
    """`[T B, ...] -> [T, B, ...]`."""
    return carried(x, x.unflatten(0, (time_steps, -1)))
