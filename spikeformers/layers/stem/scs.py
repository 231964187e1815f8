"""A stem of strided convolutions, each with a wide residual pair."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod

from torch import Tensor, nn

from spikeformers.layers.contracts import COUNTS, SPIKES, MakeNeuron
from spikeformers.layers.conv import ConvNorm
from spikeformers.layers.conv_chain import ConvChain
from spikeformers.layers.shortcut.sew import SEWShortcut
from spikeformers.ops.arguments import check_sizes, check_whole


class SCS(nn.Module):
    """Strided convolutions, each followed by a residual: `[T, B, C_in, H, W] -> [T, B, C, H / s, W / s] counts`.

        x = neuron(norm(convolution(x)))          2x2 at stride 2, 3x3 at stride 1; widths double up to `dim`
        x = x + neuron(core(x))                   3x3, 3x3 with norms, a neuron between, `expansion` times as wide

    One stage per stride and no pools, so all layers but the first see spikes or counts 0 to 2. A stage of width w costs
    (2 + 18 e) w^2 additions per output pixel, e the expansion; at stride 1, 4.5 in place of 2. The Spiking
    Convolutional Stem of Spikformer V2, Zhou et al., arXiv:2401.02020. We could read only its name, the models'
    parameter counts, and that convolutions replace SPS. Kernels and widths are the plainest we found that match the
    counts to within 6,000. They, the residual and the places of neurons are our choice. Released code: none.

    Raises ValueError for no strides, strides other than 1 and 2, and a `dim` that the widths do not divide.
    """

    emits, takes = COUNTS, (SPIKES, COUNTS)

    def __init__(
        self,
        in_channels: int,
        dim: int,
        neuron: MakeNeuron,
        strides: Sequence[int] = (2, 2, 2, 2),
        *,
        expansion: int = 4,
    ):
        super().__init__()
        check_whole(in_channels=in_channels, dim=dim, expansion=expansion)
        check_sizes(strides=strides)
        if not strides or not {*strides} <= {1, 2}:
            raise ValueError(
                f"strides {tuple(strides)} are not one or more of 1 and 2: give 1 to keep the size, 2 to halve it"
            )
        if dim % (multiple := 2 ** (len(strides) - 1)):
            raise ValueError(
                f"dim {dim} is not a multiple of {multiple}, but widths double at {len(strides)} stages: give one"
            )
        self.in_channels, self.stride = in_channels, prod(strides)
        widths = [in_channels, *(dim >> i for i in reversed(range(len(strides))))]
        stages = zip(pairwise(widths), strides, strict=True)
        self.stages = nn.Sequential(*(_Stage(*ends, neuron, stride, expansion) for ends, stride in stages))

    def forward(self, x: Tensor) -> Tensor:
        return self.stages(x)


class _Stage(nn.Module):
    def __init__(self, in_dim: int, dim: int, neuron: MakeNeuron, stride: int, expansion: int):
        super().__init__()
        self.proj, self.neuron = ConvNorm(in_dim, dim, 2 if stride == 2 else 3, stride), neuron()
        self.residual = SEWShortcut(ConvChain(dim, expansion * dim, dim, neuron), neuron)

    def forward(self, x: Tensor) -> Tensor:
        return self.residual(self.neuron(self.proj(x)))
