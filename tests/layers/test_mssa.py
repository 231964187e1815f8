"""Multi-scale spiking attention: how its second path meets neighbours and the threshold."""

import pytest
import torch

from spikeformers.layers.attention import MSSA, ChannelMSSA
from spikeformers.neurons import LIF


def gated(make, p, **arguments):
    """The gate of each channel and token of a 2 x 2 map whose token 1 alone spikes in `p`, keys always on."""
    part = make(4, 2, LIF, **arguments).double().eval()
    for layer, weight, bias in ((part.q, 0, -9.0), (part.k, 0, 9.0), (part.near, p, 0.0)):
        torch.nn.init.zeros_(layer.conv.weight)
        layer.conv.weight.data[:] = torch.as_tensor(weight, dtype=torch.float64).view(-1, 1)
        torch.nn.init.constant_(layer.norm.bias, bias)
    seen = []
    part.proj.register_forward_hook(lambda _, inputs, y: seen.append(inputs[0]))
    part(torch.tensor([[0.0, 1.0], [0.0, 0.0]], dtype=torch.float64).expand(1, 1, 4, 2, 2))
    return seen[0].flatten(-2)[0, 0]


def test_the_row_of_tokens_wraps_at_the_end_of_a_line():
    backwards = [1.0, 0.0, 0.0]  # each token sees the one before it: token 2, on the next line, sees token 1
    assert gated(MSSA, backwards)[0].tolist() == [0, 0, 1, 0]


@pytest.mark.parametrize(("threshold", "fires"), [(0.5, 1), (1.0, 1), (1.1, 0)])
def test_both_channels_of_a_head_are_summed_to_two(threshold, fires):
    """Two spikes charge the membrane to 1."""
    assert gated(MSSA, [0.0, 1.0, 0.0], attn_threshold=threshold)[0, 1] == fires


@pytest.mark.parametrize(("threshold", "fires"), [(0.5, 1), (1.0, 0)])
def test_a_channel_of_its_own_is_one(threshold, fires):
    assert gated(ChannelMSSA, 1.0, attn_threshold=threshold)[0, 1] == fires


def test_an_even_kernel_is_refused():
    with pytest.raises(ValueError, match="kernel_size 2 is even"):
        MSSA(4, 2, LIF, kernel_size=2)
