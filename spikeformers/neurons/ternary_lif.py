"""The leaky integrate-and-fire neuron with negative spikes."""

from torch import Tensor, nn

from spikeformers.neurons.lif import check_leak, check_threshold
from spikeformers.ops.arguments import check_finite
from spikeformers.ops.lif.reference import charge, reset, resting
from spikeformers.ops.steps import over_time
from spikeformers.ops.surrogate import Sigmoid, Surrogate, spike


class TernaryLIF(nn.Module):
    """LIF with a threshold on both sides: `[T, ...] current -> [T, ...] of -1, 0, 1`.

        h = v + (x - v) / tau
        s = 1 if h >= v_threshold, -1 if h <= -v_threshold, else 0
        v = v_reset where s is not 0, else h            v_reset None: soft reset, h - v_threshold s

    Same cost as `LIF`; its products add or subtract. A2OS2A, arXiv:2503.00226, and SWformer use negative spikes.
    Released code: equal, to 1e-14, in the forward pass.

    Raises ValueError if `tau` is below 1 or the thresholds are not on both sides of the reset.
    """

    levels = (-1.0, 0.0, 1.0)
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
        check_finite(v_reset=0.0 if v_reset is None else v_reset)
        check_threshold(v_threshold, abs(v_reset or 0.0))
        self.tau, self.v_threshold, self.v_reset = tau, v_threshold, v_reset
        self.decay_input, self.detach_reset, self.surrogate = decay_input, detach_reset, surrogate

    def forward(self, x: Tensor) -> Tensor:
        return over_time(self, x)

    def initial(self, x: Tensor) -> tuple[Tensor]:
        return (resting(x, self.v_reset),)

    def step(self, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        h = charge(x.to(v.dtype), v, self.tau, self.v_reset, self.decay_input)
        positive, negative = (
            spike(h - self.v_threshold, self.surrogate),
            spike(-h - self.v_threshold, self.surrogate),
        )
        s = positive - negative
        fired = s if self.v_reset is None else positive + negative
        return s.to(x.dtype), reset(h, fired.detach() if self.detach_reset else fired, self.v_threshold, self.v_reset)

    def extra_repr(self) -> str:
        return f"tau={self.tau}, v_threshold={self.v_threshold}, v_reset={self.v_reset}, surrogate={self.surrogate}"
