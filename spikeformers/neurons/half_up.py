"""The integer neuron of the large E-SpikeFormers."""

from torch import Tensor

from spikeformers.neurons.integer import Integer
from spikeformers.ops.rounding import round_half_up


class IntegerHalfUp(Integer):
    """Rounds current to a count of spikes, ties upwards: `unit * floor(clamp(x / v_threshold, 0, max_count) + 1/2)`.

    The gradient passes where `0 < x < max_count v_threshold`, both ends excluded. A product with a count of n costs n
    additions. For arguments and paper see `Integer`.
    """

    def count(self, x: Tensor) -> Tensor:
        return round_half_up(x, self.max_count)
