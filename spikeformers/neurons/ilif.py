"""The leaky integrate-and-fire neuron that emits counts of spikes."""

import torch
from torch import Tensor, nn

from spikeformers.neurons.integer import check_count
from spikeformers.neurons.lif import check_leak, check_threshold
from spikeformers.ops.arguments import check_positive
from spikeformers.ops.lif.reference import at_rest, charge
from spikeformers.ops.rounding import round_half_even


class ILIF(nn.Module):
    """LIF that fires up to `max_count` spikes a step, each worth `unit`: `[T, ...] current -> [T, ...] counts * unit`.

        h = v - v / tau + x
        n = round(clamp(h / v_threshold, 0, max_count))       ties to even; gradient 1 inside, else 0
        v = h - v_threshold n                                  soft reset

    Emits n times `unit`. At inference a step becomes n binary steps, so a product costs n additions. SpikeYOLO, Luo et
    al., ECCV 2024, arXiv:2407.20708, where tau is 4/3: the membrane keeps a quarter. `IntegerHalfEven` is ILIF without
    a membrane.

    Raises ValueError if `tau` or `max_count` is below 1 or the threshold is not above 0.
    """

    levels: tuple[float, ...]
    causal = True

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
        v = at_rest(x, None)
        counts = []
        for x_t in x.unbind(0):
            h = charge(x_t.to(v.dtype), v, self.tau, None, decay_input=False)
            n = round_half_even(h / self.v_threshold, self.max_count)
            v = h - self.v_threshold * (n.detach() if self.detach_reset else n)
            counts.append((n * self.unit).to(x.dtype))
        return torch.stack(counts)

    def extra_repr(self) -> str:
        return f"tau={self.tau:.4g}, v_threshold={self.v_threshold}, max_count={self.max_count}, unit={self.unit:.4g}"


class NILIF(ILIF):
    """ILIF divided by its largest count, which emits 0 to 1: `[T, ...] current -> [T, ...] counts / max_count`.

        ILIF(unit=1 / max_count)

    Its output has the range of a binary neuron's. Spike2Former, Lei et al., AAAI 2025, arXiv:2412.14587. Errors are
    those of `ILIF`.
    """

    def __init__(self, *, v_threshold: float = 1.0, tau: float = 4 / 3, max_count: int = 4, detach_reset: bool = True):
        check_count(max_count)
        unit = 1 / max_count
        super().__init__(v_threshold=v_threshold, tau=tau, max_count=max_count, unit=unit, detach_reset=detach_reset)
