"""Downsampling between stages, for streams of current."""

from torch import Tensor, nn

from spikeformers.layers.contracts import CURRENT, MakeNeuron
from spikeformers.layers.conv import ConvNorm


class MembraneDownsample(nn.Module):
    """Neuron, 3x3 convolution, norm: `[T, B, C_in, H, W] current -> [T, B, C, H / s, W / s]`.

    The convolution sees spikes and returns current. Sizes that `stride` does not divide are rounded up.
    Meta-SpikeFormer, Yao et al., ICLR 2024, arXiv:2404.03663.
    """

    emits = CURRENT

    def __init__(self, in_dim: int, dim: int, neuron: MakeNeuron, stride: int = 2, *, bias: bool = True):
        super().__init__()
        self.neuron = neuron()
        self.proj = ConvNorm(in_dim, dim, 3, stride, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(self.neuron(x))
