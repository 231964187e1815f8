"""Downsampling between stages, for streams of counts."""

from torch import Tensor, nn

from spikeformers.layers.contracts import COUNTS, SPIKES, MakeNeuron
from spikeformers.layers.conv import ConvNorm
from spikeformers.layers.drop_path import DropPath
from spikeformers.ops.notes import added


class SEWDownsample(nn.Module):
    """A SEW shortcut between shapes: `[T, B, C_in, H, W] -> [T, B, C, H / s, W / s]` counts of spikes.

        neuron(core(x)) + skip_neuron(skip(x)), where skip is a 1x1 convolution with norm

    `core` maps to the same new shape. Sizes that `stride` does not divide are rounded up. Fang et al., NeurIPS 2021,
    arXiv:2102.04159.
    """

    emits, takes = COUNTS, (SPIKES, COUNTS)

    def __init__(
        self, core: nn.Module, in_dim: int, dim: int, neuron: MakeNeuron, stride: int = 2, *, drop_path: float = 0.0
    ):
        super().__init__()
        self.core, self.neuron, self.drop_path = core, neuron(), DropPath(drop_path)
        self.skip, self.skip_neuron = ConvNorm(in_dim, dim, 1, stride), neuron()

    def forward(self, x: Tensor) -> Tensor:
        return added(self.skip_neuron(self.skip(x)), self.drop_path(self.neuron(self.core(x))))
