"""The feature pyramid network, spiking."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn.functional import interpolate

from spikeformers.layers.contracts import MakeConv, MakeNeuron
from spikeformers.layers.conv import ConvNorm
from spikeformers.layers.neuron_conv import NeuronConv
from spikeformers.layers.time import merge_time, split_time
from spikeformers.ops.arguments import check_sizes


class FPN(nn.Module):
    """A pyramid of the stages' maps: `[[T, B, C_i, H_i, W_i], ...] -> [[T, B, D, H_j, W_j], ...]` of current.

    Each stage's stream goes through a neuron and a 1x1 convolution; the sum with the level above it, enlarged, goes
    through a neuron and a 3x3 convolution. Levels coarser than the last stage are 3x3 convolutions of stride 2 on its
    stream, one after the other. All sums are of current. Lin et al., CVPR 2017, arXiv:1612.03144; spiking as in
    Spike-driven Transformer V3, arXiv:2411.16061, whose detector has no norms: `conv=PlainConv`. Released code:
    differs, it makes Mask R-CNN's coarsest level by pooling.

    Args:
        dims, strides: Of the stages.
        pyramid: Strides of the levels, each twice the one before.
        dim: Width of all levels.

    Raises:
        ValueError: `pyramid` does not double, or does not begin with the stages' strides.
    """

    def __init__(
        self,
        dims: Sequence[int],
        strides: Sequence[int],
        pyramid: Sequence[int],
        dim: int,
        neuron: MakeNeuron,
        conv: MakeConv = ConvNorm,
    ):
        super().__init__()
        check_pyramid(pyramid)
        if list(pyramid[: len(strides)]) != list(strides):
            raise ValueError(
                f"pyramid {tuple(pyramid)} does not begin with the strides {tuple(strides)} of the stages: give these "
                "first, or the neck SimplePyramid"
            )
        self.lateral = nn.ModuleList(NeuronConv(width, dim, 1, neuron, conv) for width in dims)
        self.smooth = nn.ModuleList(NeuronConv(dim, dim, 3, neuron, conv) for _ in dims)
        coarser = [dims[-1], *[dim] * len(pyramid)][: len(pyramid) - len(dims)]
        self.coarser = nn.ModuleList(NeuronConv(width, dim, 3, neuron, conv, stride=2) for width in coarser)

    def forward(self, streams: list[Tensor]) -> list[Tensor]:
        sums: list[Tensor] = []
        for stream, lateral in zip(reversed(streams), reversed(self.lateral), strict=True):
            current = lateral(stream)
            sums.append(current + enlarged(sums[-1], current) if sums else current)
        levels = [smooth(current) for smooth, current in zip(self.smooth, reversed(sums), strict=True)]
        x = streams[-1]
        for coarser in self.coarser:
            levels.append(x := coarser(x))
        return levels


def enlarged(x: Tensor, like: Tensor) -> Tensor:
    """`x` at the size of `like`, by its nearest pixels: `[T, B, C, h, w], [T, B, C, H, W] -> [T, B, C, H, W]`."""
    return split_time(interpolate(merge_time(x), size=like.shape[-2:], mode="nearest"), x.shape[0])


def check_pyramid(pyramid: Sequence[int]) -> None:
    """Raises ValueError unless the strides are whole numbers, each twice the one before."""
    check_sizes(pyramid=pyramid)
    if not pyramid or any(fine * 2 != coarse for fine, coarse in pairwise(pyramid)):
        raise ValueError(f"pyramid {tuple(pyramid)} does not double from level to level: give strides as (8, 16, 32)")
