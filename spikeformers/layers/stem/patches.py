"""Plain patches: the control for a stem."""

from collections.abc import Sequence
from math import prod

from torch import Tensor, nn

from spikeformers.layers.contracts import COUNTS, SPIKES, MakeNeuron
from spikeformers.layers.conv import ConvNorm
from spikeformers.ops.arguments import check_sizes, check_whole


class Patches(nn.Module):
    """A linear layer per patch, norm, neuron: `[T, B, C_in, H, W] -> [T, B, C, H / s, W / s] spikes`.

    Patches do not overlap; their side s is the product of `strides`, as in a ViT. C_in s^2 C multiplications per patch.
    The control for convolutional stems: with it and learned positions, independent runs of Spikformer on CIFAR-10 fell
    from 95.1 to 78.2 %. Released code: none.
    """

    emits, takes = SPIKES, (SPIKES, COUNTS)

    def __init__(self, in_channels: int, dim: int, neuron: MakeNeuron, strides: Sequence[int] = (2, 2)):
        super().__init__()
        check_whole(in_channels=in_channels, dim=dim)
        check_sizes(strides=strides)
        self.in_channels, self.stride = in_channels, prod(strides)
        self.proj, self.neuron = ConvNorm(in_channels, dim, self.stride, self.stride), neuron()

    def forward(self, x: Tensor) -> Tensor:
        return self.neuron(self.proj(x))
