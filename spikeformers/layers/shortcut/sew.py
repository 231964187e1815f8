"""Spike-element-wise addition."""

from torch import Tensor, nn

from spikeformers.layers.contracts import COUNTS, SPIKES, MakeNeuron
from spikeformers.layers.drop_path import DropPath
from spikeformers.ops.notes import added


class SEWShortcut(nn.Module):
    """`x + neuron(core(x))`: the stream carries counts of spikes, 0, 1, 2, ... `[T, B, C, H, W] -> [T, B, C, H, W]`.

    One addition per spike. Spike-element-wise ADD, Fang et al., NeurIPS 2021, arXiv:2102.04159; used by Spikformer
    and QKFormer.
    """

    emits, takes = COUNTS, (SPIKES, COUNTS)

    def __init__(self, core: nn.Module, neuron: MakeNeuron, *, drop_path: float = 0.0):
        super().__init__()
        self.core, self.neuron, self.drop_path = core, neuron(), DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        return added(x, self.drop_path(self.neuron(self.core(x))))
