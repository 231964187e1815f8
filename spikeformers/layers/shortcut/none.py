"""No shortcut: the control."""

from torch import Tensor, nn

from spikeformers.layers.contracts import COUNTS, SPIKES, MakeNeuron
from spikeformers.layers.drop_path import DropPath


class NoShortcut(nn.Module):
    """`neuron(core(x))`: no residual path. `[T, B, C, H, W] spikes -> [T, B, C, H, W] spikes`.

    The control for residual shortcuts: `SEWShortcut` without its addition. The stream is binary.
    """

    emits, takes = SPIKES, (SPIKES, COUNTS)

    def __init__(self, core: nn.Module, neuron: MakeNeuron, *, drop_path: float = 0.0):
        super().__init__()
        self.core, self.neuron, self.drop_path = core, neuron(), DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        return self.drop_path(self.neuron(self.core(x)))
