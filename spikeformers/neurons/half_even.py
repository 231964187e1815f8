"""The integer neuron of the small E-SpikeFormers."""

from torch import Tensor

from spikeformers.neurons.integer import Integer
from spikeformers.ops.rounding import round_half_even


class IntegerHalfEven(Integer):
    """Rounds current to a count of spikes, ties to even: `unit * round(clamp(x / v_threshold, 0, max_count))`.

    The gradient passes where `0 <= x <= max_count v_threshold`, both ends included. A product with a count of n costs n
    additions. Released code: equal, to 1e-6 in V3's logits. For arguments and paper see `Integer`.
    """

    _sixteen_bits_do = True  # it clamps and rounds, and adds nothing

    def count(self, x: Tensor) -> Tensor:
        return round_half_even(x, self.max_count)
