"""The shortcut of membrane current."""

from torch import Tensor, nn

from spikeformers.layers.contracts import CURRENT, MakeNeuron
from spikeformers.layers.drop_path import DropPath


class MembraneShortcut(nn.Module):
    """`x + core(neuron(x))`: the stream carries membrane current, cores see spikes. `[T, B, C, H, W]` in and out.

    One real addition per neuron. Hu et al., TNNLS 2024, arXiv:2112.08954; used by the Spike-driven Transformers and
    Spikingformer.
    """

    emits = CURRENT

    def __init__(self, core: nn.Module, neuron: MakeNeuron, *, drop_path: float = 0.0):
        super().__init__()
        self.core, self.neuron, self.drop_path = core, neuron(), DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.drop_path(self.core(self.neuron(x)))
