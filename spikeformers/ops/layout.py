"""The order of a map's numbers in memory."""

from torch import Tensor

from spikeformers.ops.tracing import runs_eagerly


def channels_last(x: Tensor) -> bool:
    """Whether the channels of a pixel are neighbours in maps `[T, B, C, H, W]`."""
    return x.stride(2) == 1


def keep_layout(x: Tensor) -> Tensor:
    """`x`, maps `[T, B, C, H, W]`, whose gradient gets its layout too.

    The gradients of a mean over pixels and of an image repeated over time are laid out otherwise, and so is every sum
    with them further down. Where layouts meet, norms, sums and convolutions take up to ten times as long on a CPU.
    """
    if x.requires_grad and runs_eagerly(x) and channels_last(x):
        x.register_hook(_last)
    return x


def _last(grad: Tensor) -> Tensor:
    return grad.movedim(2, -1).contiguous().movedim(-1, 2)
