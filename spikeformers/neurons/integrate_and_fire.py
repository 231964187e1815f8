"""The integrate-and-fire neuron."""

import math

from torch import Tensor, nn

from spikeformers.neurons.lif import check_threshold
from spikeformers.ops.lif import lif
from spikeformers.ops.surrogate import Sigmoid, Surrogate


class IF(nn.Module):
    """Integrate-and-fire, LIF without leak: `[T, ...] current -> [T, ...] spikes`.

    One addition and one comparison per neuron and step. The neuron of SEW-ResNet, Fang et al., NeurIPS 2021,
    arXiv:2102.04159.

    Raises ValueError if the threshold is not above the reset.
    """

    levels = (0.0, 1.0)
    causal = True

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
        return lif(
            x,
            math.inf,
            self.v_threshold,
            self.v_reset,
            decay_input=False,
            detach_reset=self.detach_reset,
            surrogate=self.surrogate,
        )

    def extra_repr(self) -> str:
        return f"v_threshold={self.v_threshold}, v_reset={self.v_reset}, surrogate={self.surrogate}"
