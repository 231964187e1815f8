"""The integer neuron of QSD-Transformer."""

from spikeformers.neurons.half_up import IntegerHalfUp
from spikeformers.neurons.integer import check_count
from spikeformers.neurons.lif import check_threshold


class IELIF(IntegerHalfUp):
    """Divides current up to the threshold into `max_count` spikes: `[T, ...] current -> [T, ...] counts * unit`.

        n = floor(clamp(max_count x / v_threshold, 0, max_count) + 1/2)      ties upwards

    It is `IntegerHalfUp` with a threshold of `v_threshold / max_count` per spike. With the default unit, 1 /
    `max_count`, it is a staircase along `x`; its gradient is 1 where `0 < x < v_threshold`, else 0. It has no membrane,
    so all steps of a repeated image are equal. At inference a count is sent as up to `max_count` spikes: a product
    costs n additions. The information-enhanced LIF of QSD-Transformer, Qiu et al., ICLR 2025, arXiv:2501.13492.
    Released code: equal, to 1e-6 in QSD-Transformer's logits; the released code uses a unit of 1 / 2 after attention.
    For arguments and errors see `Integer`.
    """

    def __init__(self, *, v_threshold: float = 1.0, max_count: int = 4, unit: float | None = None):
        check_threshold(v_threshold, 0.0)
        check_count(max_count)
        super().__init__(v_threshold=v_threshold / max_count, max_count=max_count, unit=unit)
