"""An error names the value, the rule and the remedy."""

import pytest

from spikeformers.layers.attention import SSA
from spikeformers.layers.head import Head
from spikeformers.layers.stem import SPS
from spikeformers.neurons import LIF


@pytest.mark.parametrize(
    ("make", "value", "remedy"),
    [
        (lambda: SSA(100, 8, LIF), "dim 100 is not a multiple of num_heads 8", "give a number .* that divides it"),
        (lambda: SSA(8, 0, LIF), "num_heads 0", "give a number of heads"),
        (lambda: SPS(3, 100, LIF), "dim 100 is not a multiple of 8", "try 104"),
        (lambda: SPS(3, 8, LIF, (2, 3)), "stride 3", "give 1 to keep the size, 2 to halve it"),
        (lambda: SPS(3, 8, LIF, ()), r"strides \(\)", "give one stride"),
        (lambda: Head(8, -1, LIF), "num_classes -1 is below 0", "0 for features"),
    ],
)
def test_errors(make, value, remedy):
    with pytest.raises(ValueError, match=f"{value}.*{remedy}"):
        make()
