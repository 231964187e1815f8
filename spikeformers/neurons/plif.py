"""The parametric leaky integrate-and-fire neuron."""

import math

import torch
from torch import Tensor, nn

from spikeformers.neurons.lif import check_threshold
from spikeformers.ops.arguments import check_finite
from spikeformers.ops.lif import lif, lif_step
from spikeformers.ops.lif.reference import resting
from spikeformers.ops.surrogate import Sigmoid, Surrogate


class PLIF(nn.Module):
    """LIF that learns a time constant per layer, `1 / tau = sigmoid(w)`: `[T, ...] current -> [T, ...] spikes`.

    `init_tau` is in steps. Same cost as `LIF`. Fang et al., ICCV 2021, arXiv:2007.05785. Independent runs: Spikformer
    on CIFAR-10 95.79 to 95.91 %. Released code: equal, to 1e-14.

    Raises ValueError if `init_tau` is not above 1 or the threshold is not above the reset.
    """

    levels = (0.0, 1.0)
    causal = True
    remembers = ("v",)

    def __init__(
        self,
        *,
        v_threshold: float = 1.0,
        init_tau: float = 2.0,
        v_reset: float | None = 0.0,
        decay_input: bool = True,
        detach_reset: bool = True,
        surrogate: Surrogate = Sigmoid(),
    ):
        super().__init__()
        check_finite(init_tau=init_tau)
        if init_tau <= 1:
            raise ValueError(f"init_tau {init_tau} is not above 1: sigmoid(w) = 1 / tau has no solution; try 2")
        check_threshold(v_threshold, v_reset)
        self.w = nn.Parameter(torch.tensor(-math.log(init_tau - 1)))
        self.v_threshold, self.v_reset = v_threshold, v_reset
        self.decay_input, self.detach_reset, self.surrogate = decay_input, detach_reset, surrogate

    def forward(self, x: Tensor) -> Tensor:
        tau, v_threshold, v_reset, decay_input, detach_reset, surrogate = self._settings()
        return lif(
            x, tau, v_threshold, v_reset, decay_input=decay_input, detach_reset=detach_reset, surrogate=surrogate
        )

    def initial(self, x: Tensor) -> tuple[Tensor]:
        return (resting(x, self.v_reset),)

    def step(self, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        return lif_step(x, v, *self._settings())

    def _settings(self) -> tuple[Tensor, float, float | None, bool, bool, Surrogate]:
        tau = 1 + torch.exp(-self.w)  # 1 / sigmoid(w)
        return tau, self.v_threshold, self.v_reset, self.decay_input, self.detach_reset, self.surrogate

    def extra_repr(self) -> str:
        return f"v_threshold={self.v_threshold}, v_reset={self.v_reset}, surrogate={self.surrogate}"
