"""One convolution from the image to the stream."""

from collections.abc import Sequence
from math import prod

from torch import Tensor, nn

from spikeformers.layers.contracts import COUNTS, CURRENT, SPIKES, MakeNeuron
from spikeformers.layers.conv import ConvNorm
from spikeformers.ops.arguments import check_sizes, check_whole


class StridedConv(nn.Module):
    """A 7x7 convolution with bias and norm, and no neuron: `[T, B, C_in, H, W] -> [T, B, C, H / s, W / s] current`.

    49 C_in C multiplications per output pixel: its input is the image. The stride is the product of `strides`.
    Meta-SpikeFormer, Yao et al., ICLR 2024, arXiv:2404.03663.
    """

    emits, takes = CURRENT, (SPIKES, COUNTS)

    def __init__(self, in_channels: int, dim: int, neuron: MakeNeuron, strides: Sequence[int] = (2,)):
        super().__init__()
        check_whole(in_channels=in_channels, dim=dim)
        check_sizes(strides=strides)
        self.in_channels, self.stride = in_channels, prod(strides)
        self.proj = ConvNorm(in_channels, dim, 7, self.stride, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x)
