"""The stem of a residual network: one convolution."""

from collections.abc import Sequence
from math import prod

from torch import Tensor, nn

from spikeformers.layers.contracts import COUNTS, CURRENT, SPIKES, MakeNeuron
from spikeformers.layers.conv import ConvNorm
from spikeformers.layers.pool import MaxPool
from spikeformers.layers.time import at_each_step
from spikeformers.ops.arguments import check_sizes, check_whole


class ResNetStem(nn.Module):
    """Convolution, norm, neuron, max pool: `[T, B, C_in, H, W] -> [T, B, C, H / s, W / s] spikes`.

    kernel_size^2 C_in C multiplications per output pixel of the convolution: its input is the image. `strides` are
    those of the convolution and the 3x3 pool; a pool of stride 1 is omitted. He et al., CVPR 2016, arXiv:1512.03385;
    with spikes, SEW-ResNet, Fang et al., NeurIPS 2021, arXiv:2102.04159. Released code: equal, SpikingJelly's
    SEW-ResNet.

    Raises ValueError unless there are two strides.
    """

    emits, takes = SPIKES, (SPIKES, COUNTS)

    def __init__(
        self, in_channels: int, dim: int, neuron: MakeNeuron, strides: Sequence[int] = (2, 2), *, kernel_size: int = 7
    ):
        super().__init__()
        check_whole(in_channels=in_channels, dim=dim, kernel_size=kernel_size)
        check_sizes(strides=strides)
        if len(strides) != 2:
            raise ValueError(f"strides {tuple(strides)} are not two: give one for the convolution, one for the pool")
        self.in_channels, self.stride = in_channels, prod(strides)
        self.proj = ConvNorm(in_channels, dim, kernel_size, strides[0])
        self.neuron = neuron()
        self.pool = MaxPool(3, strides[1], padding=1) if strides[1] > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        spikes = self.neuron(self.proj(x))
        return at_each_step(self.pool, spikes)


class MembraneResNetStem(ResNetStem):
    """ResNetStem without its neuron: `[T, B, C_in, H, W] -> [T, B, C, H / s, W / s] current`.

    The prologue of SpikingResformer, Shi et al., CVPR 2024, arXiv:2403.14302. Released code: equal, to 1e-6 in
    SpikingResformer's logits. Errors are those of `ResNetStem`.
    """

    emits = CURRENT

    def __init__(
        self, in_channels: int, dim: int, neuron: MakeNeuron, strides: Sequence[int] = (2, 2), *, kernel_size: int = 7
    ):
        super().__init__(in_channels, dim, nn.Identity, strides, kernel_size=kernel_size)
