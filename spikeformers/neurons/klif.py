"""The leaky integrate-and-fire neuron with a learned gain."""

import torch
from torch import Tensor, nn

from spikeformers.neurons.lif import check_leak, check_threshold
from spikeformers.ops.lif.reference import charge, reset, resting
from spikeformers.ops.steps import over_time
from spikeformers.ops.surrogate import Sigmoid, Surrogate, spike


class KLIF(nn.Module):
    """LIF whose membrane is scaled by a learned k and rectified before it fires: `[T, ...] current -> [T, ...] spikes`.

        h = relu(k (v + (x - v) / tau))         k is one number per layer, initially 1
        s = 1 if h >= v_threshold else 0
        v = v_reset where s else h

    One multiplication more than `LIF` per neuron and step. Jiang and Zhang, arXiv:2302.09238. Independent runs:
    Spikformer on CIFAR-10 95.79 to 95.63 %. Released code: equal, SpikingJelly's.

    Raises ValueError if `tau` is below 1 or the threshold is not above the reset.
    """

    levels = (0.0, 1.0)
    causal = True
    remembers = ("v",)

    def __init__(
        self,
        *,
        v_threshold: float = 1.0,
        tau: float = 2.0,
        v_reset: float | None = 0.0,
        decay_input: bool = True,
        detach_reset: bool = True,
        surrogate: Surrogate = Sigmoid(),
    ):
        super().__init__()
        check_leak(tau)
        check_threshold(v_threshold, v_reset)
        self.k = nn.Parameter(torch.tensor(1.0))
        self.tau, self.v_threshold, self.v_reset = tau, v_threshold, v_reset
        self.decay_input, self.detach_reset, self.surrogate = decay_input, detach_reset, surrogate

    def forward(self, x: Tensor) -> Tensor:
        return over_time(self, x)

    def initial(self, x: Tensor) -> tuple[Tensor]:
        return (resting(x, self.v_reset),)

    def step(self, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        h = torch.relu(self.k * charge(x.to(v.dtype), v, self.tau, self.v_reset, self.decay_input))
        s = spike(h - self.v_threshold, self.surrogate)
        return s.to(x.dtype), reset(h, s.detach() if self.detach_reset else s, self.v_threshold, self.v_reset)

    def extra_repr(self) -> str:
        return f"tau={self.tau}, v_threshold={self.v_threshold}, v_reset={self.v_reset}, surrogate={self.surrogate}"
