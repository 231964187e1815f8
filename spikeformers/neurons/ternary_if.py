"""The integrate-and-fire neuron with negative spikes."""

from torch import Tensor, nn

from spikeformers.neurons.lif import check_threshold
from spikeformers.ops.arguments import check_positive
from spikeformers.ops.lif.reference import resting
from spikeformers.ops.steps import over_time
from spikeformers.ops.surrogate import Sigmoid, Surrogate, spike


class TernaryIF(nn.Module):
    """IF with a threshold on both sides: `[T, ...] current -> [T, ...] of -1, 0, 1`.

        h = v + x
        s = 1 if h >= v_threshold, -1 if h <= -v_negative, else 0
        v = (1 - |s|) h                                        the reset has a gradient unless `detach_reset`

    One addition per neuron and step. The neuron of SWformer, Fang et al., ECCV 2024, arXiv:2403.11138. There only the
    positive threshold follows the setting; the negative one stays at 0.501, the default here. Released code: equal,
    SWformer's.

    Raises ValueError if a threshold is not above 0.
    """

    levels = (-1.0, 0.0, 1.0)
    causal = True
    remembers = ("v",)

    def __init__(
        self,
        *,
        v_threshold: float = 1.0,
        v_negative: float = 0.501,
        detach_reset: bool = False,
        surrogate: Surrogate = Sigmoid(),
    ):
        super().__init__()
        check_threshold(v_threshold, 0.0)
        check_positive(v_negative=v_negative)
        self.v_threshold, self.v_negative = v_threshold, v_negative
        self.detach_reset, self.surrogate = detach_reset, surrogate

    def forward(self, x: Tensor) -> Tensor:
        return over_time(self, x)

    def initial(self, x: Tensor) -> tuple[Tensor]:
        return (resting(x, 0.0),)

    def step(self, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        h = v + x.to(v.dtype)
        s = spike(h - self.v_threshold, self.surrogate) - spike(-h - self.v_negative, self.surrogate)
        fired = (s.detach() if self.detach_reset else s).abs()
        return s.to(x.dtype), (1 - fired) * h

    def extra_repr(self) -> str:
        return f"v_threshold={self.v_threshold}, v_negative={self.v_negative}, surrogate={self.surrogate}"
