"""Convert between feature maps and tokens of attention heads."""

from torch import Tensor

from spikeformers.ops.arguments import check_whole
from spikeformers.ops.layout import channels_last


def check_heads(dim: int, num_heads: int) -> None:
    """Raises ValueError if the number of heads does not divide the channels."""
    check_whole(dim=dim)
    check_whole(why="give a number of heads that divides the channels", num_heads=num_heads)
    if dim % num_heads:
        raise ValueError(
            f"dim {dim} is not a multiple of num_heads {num_heads}: give a number of heads that divides it"
        )


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """`[T, B, C, H, W] -> [T, B, M, N, D]`: head m has channels m D to (m + 1) D; tokens are in row-major order.

    Channels adjacent in memory stay adjacent, in gradients too.
    """
    if channels_last(x):
        return x.flatten(-2).transpose(-2, -1).unflatten(-1, (num_heads, -1)).transpose(2, 3)
    return x.flatten(-2).unflatten(2, (num_heads, -1)).transpose(-2, -1)


def merge_heads(x: Tensor, like: Tensor) -> Tensor:
    """`[T, B, M, N, D] -> [T, B, C, H, W]`, the inverse of `split_heads`; `like` has the map's size and layout."""
    size = like.shape[-2:]
    if channels_last(like):
        return x.transpose(2, 3).flatten(3).transpose(-2, -1).unflatten(-1, size)
    return x.transpose(-2, -1).flatten(2, 3).unflatten(-1, size)
