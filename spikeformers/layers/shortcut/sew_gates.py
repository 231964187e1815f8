"""Spike-element-wise AND and IAND, which keep the stream binary."""

from torch import Tensor, nn

from spikeformers.layers.binary import check_binary
from spikeformers.layers.contracts import SPIKES, MakeNeuron
from spikeformers.ops.arguments import check_finite


class SEWAndShortcut(nn.Module):
    """`x neuron(core(x))`: a spike passes if the branch fires too. `[T, B, C, H, W] spikes -> spikes`.

    One mask per spike; the identity if the branch always fires. Spike-element-wise AND, Fang et al., NeurIPS 2021,
    arXiv:2102.04159. Released code: equal, SEW-ResNet's.

    Raises ValueError for a `drop_path` above 0, whose rescaling breaks binary spikes, and for a neuron whose levels are
    not 0 and 1.
    """

    emits, takes = SPIKES, (SPIKES,)

    def __init__(self, core: nn.Module, neuron: MakeNeuron, *, drop_path: float = 0.0):
        super().__init__()
        _check_no_drop_path(self, drop_path)
        self.core, self.neuron = core, neuron()
        check_binary(self, self.neuron)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.neuron(self.core(x))


class SEWIandShortcut(nn.Module):
    """`x (1 - neuron(core(x)))`: a spike passes unless the branch fires. `[T, B, C, H, W] spikes -> spikes`.

    One mask per spike; the identity if the branch never fires. Spike-element-wise IAND, Fang et al., NeurIPS 2021,
    arXiv:2102.04159. Released code: equal, SEW-ResNet's. Errors are those of `SEWAndShortcut`.
    """

    emits, takes = SPIKES, (SPIKES,)

    def __init__(self, core: nn.Module, neuron: MakeNeuron, *, drop_path: float = 0.0):
        super().__init__()
        _check_no_drop_path(self, drop_path)
        self.core, self.neuron = core, neuron()
        check_binary(self, self.neuron)

    def forward(self, x: Tensor) -> Tensor:
        return x * (1 - self.neuron(self.core(x)))


def _check_no_drop_path(part: nn.Module, drop_path: float) -> None:
    check_finite(drop_path=drop_path)
    if drop_path > 0:
        name = type(part).__name__
        raise ValueError(
            f"drop_path {drop_path} rescales the branch, and {name} takes spikes: set it to 0, or use SEWShortcut"
        )
