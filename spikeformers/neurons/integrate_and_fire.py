"""The integrate-and-fire neuron."""

import math

from torch import Tensor, nn

from spikeformers.neurons.lif import check_threshold
from spikeformers.ops.lif import lif, lif_step
from spikeformers.ops.lif.reference import resting
from spikeformers.ops.surrogate import Sigmoid, Surrogate


class IF(nn.Module):
    """Integrate-and-fire, LIF without leak: `[T, ...] current -> [T, ...] spikes`.

    One addition and one comparison per neuron and step. The neuron of SEW-ResNet, Fang et al., NeurIPS 2021,
    arXiv:2102.04159. Released code: equal, SpikingJelly's.

    Raises ValueError if the threshold is not above the reset.
    """

    levels = (0.0, 1.0)
    causal = True
    remembers = ("v",)

    def __init__(
        self,
        *,
        v_threshold: float = 1.0,
        v_reset: float | None = 0.0,
        detach_reset: bool = True,
        surrogate: Surrogate = Sigmoid(),
    ):
        super().__init__()
        check_threshold(v_threshold, v_reset)
        self.v_threshold, self.v_reset = v_threshold, v_reset
        self.detach_reset, self.surrogate = detach_reset, surrogate

    def forward(self, x: Tensor) -> Tensor:
        tau, v_threshold, v_reset, decay_input, detach_reset, surrogate = self._settings()
        return lif(
            x, tau, v_threshold, v_reset, decay_input=decay_input, detach_reset=detach_reset, surrogate=surrogate
        )

    def initial(self, x: Tensor) -> tuple[Tensor]:
        return (resting(x, self.v_reset),)

    def step(self, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        return lif_step(x, v, *self._settings())

    def _settings(self) -> tuple[float, float, float | None, bool, bool, Surrogate]:
        return math.inf, self.v_threshold, self.v_reset, False, self.detach_reset, self.surrogate

    def extra_repr(self) -> str:
        return f"v_threshold={self.v_threshold}, v_reset={self.v_reset}, surrogate={self.surrogate}"
