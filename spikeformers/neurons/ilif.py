"""The leaky integrate-and-fire neuron that emits counts of spikes."""

from torch import Tensor, nn

from spikeformers.neurons.integer import check_count
from spikeformers.neurons.lif import check_leak, check_threshold
from spikeformers.ops.arguments import check_positive
from spikeformers.ops.lif.reference import charge, resting
from spikeformers.ops.rounding import round_half_even
from spikeformers.ops.steps import over_time


class ILIF(nn.Module):
    """LIF that fires up to `max_count` spikes a step, each worth `unit`: `[T, ...] current -> [T, ...] counts * unit`.

        h = v - v / tau + x
        n = round(clamp(h / v_threshold, 0, max_count))       ties to even; gradient 1 inside, else 0
        v = h - v_threshold n                                  soft reset

    Emits n times `unit`. At inference a step becomes n binary steps, so a product costs n additions. SpikeYOLO, Luo et
    al., ECCV 2024, arXiv:2407.20708, where tau is 4/3: the membrane keeps a quarter. `IntegerHalfEven` and `NILIF` have
    no membrane. Released code: equal, to 1e-14.

    Raises ValueError if `tau` or `max_count` is below 1 or the threshold is not above 0.
    """

    levels: tuple[float, ...]
    causal = True
    remembers = ("v",)

    def __init__(
        self,
        *,
        v_threshold: float = 1.0,
        tau: float = 4 / 3,
        max_count: int = 4,
        unit: float = 1.0,
        detach_reset: bool = True,
    ):
        super().__init__()
        check_leak(tau)
        check_threshold(v_threshold, None)
        check_count(max_count)
        check_positive(unit=unit)
        self.v_threshold, self.tau, self.max_count, self.unit = v_threshold, tau, max_count, unit
        self.detach_reset = detach_reset
        self.levels = tuple(count * unit for count in range(max_count + 1))

    def forward(self, x: Tensor) -> Tensor:
        return over_time(self, x)

    def initial(self, x: Tensor) -> tuple[Tensor]:
        return (resting(x, None),)

    def step(self, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        h = charge(x.to(v.dtype), v, self.tau, None, decay_input=False)
        n = round_half_even(h / self.v_threshold, self.max_count)
        return (n * self.unit).to(x.dtype), h - self.v_threshold * (n.detach() if self.detach_reset else n)

    def extra_repr(self) -> str:
        return f"tau={self.tau:.4g}, v_threshold={self.v_threshold}, max_count={self.max_count}, unit={self.unit:.4g}"
