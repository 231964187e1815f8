"""The leaky integrate-and-fire neuron."""

from torch import Tensor, nn

from spikeformers.ops.arguments import check_finite
from spikeformers.ops.lif import lif, lif_step
from spikeformers.ops.lif.reference import resting
from spikeformers.ops.surrogate import Sigmoid, Surrogate


class LIF(nn.Module):
    """Leaky integrate-and-fire with a fixed time constant: `[T, ...] current -> [T, ...] spikes`.

    `tau` is in steps (1: no memory); `v_reset=None` is a soft reset. `spikeformers.ops.lif.lif` has the formula. Three
    element-wise operations per neuron and step, one of them the decay. Defaults are those of Spikformer
    (arXiv:2209.15425) and its descendants. Released code: equal, SpikingJelly's.

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
        self.tau, self.v_threshold, self.v_reset = tau, v_threshold, v_reset
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

    def _settings(self) -> tuple[float, float, float | None, bool, bool, Surrogate]:
        return self.tau, self.v_threshold, self.v_reset, self.decay_input, self.detach_reset, self.surrogate

    def extra_repr(self) -> str:
        return f"tau={self.tau}, v_threshold={self.v_threshold}, v_reset={self.v_reset}, surrogate={self.surrogate}"


def check_leak(tau: float) -> None:
    """Raises ValueError for a time constant that is not finite or below one step."""
    check_finite(tau=tau)
    if tau < 1:
        raise ValueError(f"tau {tau} is below 1: a membrane cannot leak more than it holds; give 1 or more steps")


def check_threshold(v_threshold: float, v_reset: float | None) -> None:
    """Raises ValueError unless the threshold is above the reset: the neuron would fire at every step."""
    check_finite(v_threshold=v_threshold, v_reset=0.0 if v_reset is None else v_reset)
    if v_threshold <= (v_reset or 0.0):
        raise ValueError(f"v_threshold {v_threshold} is not above v_reset {v_reset}: raise the threshold")
