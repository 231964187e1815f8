import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from spikeformers.ops.spike_attention import spike_attention
from spikeformers.ops.spike_attention.reference import scores_first, values_first

# tokens, width, value width: one order wins, the other, a tie, values of another width, one token, one channel
SIZES = [(3, 8, 8), (50, 4, 4), (8, 8, 8), (10, 4, 20), (20, 20, 4), (1, 5, 5), (7, 1, 1)]
sizes = pytest.mark.parametrize(("tokens", "width", "value_width"), SIZES)


def spikes(tokens, width, value_width, dtype=torch.float32):
    return [(torch.rand(2, 3, 2, tokens, d) < 0.4).to(dtype) for d in (width, width, value_width)]


@sizes
def test_both_orders_are_one_number_on_spikes(tokens, width, value_width):
    q, k, v = spikes(tokens, width, value_width)
    expected = torch.einsum("...nd,...md,...me->...ne", *(s.long() for s in (q, k, v)))
    for order in (scores_first, values_first):
        assert torch.equal(order(q, k, v).long(), expected)
    assert torch.equal(spike_attention(q, k, v, 0.125), expected * 0.125)
    assert expected.any()


@sizes
def test_takes_the_cheaper_order(tokens, width, value_width):
    q, k, v = spikes(tokens, width, value_width)
    with FlopCounterMode(display=False) as counter:
        spike_attention(q, k, v, 1.0)
    cheaper = min(tokens**2 * (width + value_width), 2 * tokens * width * value_width)
    assert counter.get_total_flops() == 2 * cheaper * 12  # 2 for multiply and add, 12 heads in all


@sizes
def test_gradient(tokens, width, value_width):
    inputs = [s.requires_grad_() for s in spikes(tokens, width, value_width, torch.float64)]
    ours = spike_attention(*inputs, 0.25)
    expected = 0.25 * torch.einsum("...nd,...md,...me->...ne", *inputs)
    weights = torch.randn_like(expected)
    for gradient, wanted in zip(
        torch.autograd.grad(ours, inputs, weights), torch.autograd.grad(expected, inputs, weights), strict=True
    ):
        assert torch.allclose(gradient, wanted, rtol=1e-12, atol=1e-12)
