"""Convolutions compute what torch's do, also where torch's own have a fault."""

import copy

import pytest
import torch
from torch.nn.functional import conv2d

from spikeformers.layers.conv import SpikeConv2d
from spikeformers.ops.notes import Counts, note


@pytest.mark.parametrize("spikes", [False, True])
@pytest.mark.parametrize("dim", [8, 15])
def test_gradients_of_few_channels_at_every_second_pixel(dim, spikes):
    """oneDNN's weight gradient of these writes outside of its memory, and is wrong, if it is asked for them."""
    torch.manual_seed(0)
    x = torch.randint(0, 2, (2, dim, 56, 56)).float().contiguous(memory_format=torch.channels_last)
    conv = SpikeConv2d(dim, 8, 1, 2, bias=True)
    exact = copy.deepcopy(conv).double()
    y = conv(note(x, Counts(1)) if spikes else x)
    grad = torch.randn_like(y)
    y.backward(grad)
    wanted = conv2d(x.double().contiguous(), exact.weight, exact.bias, 2)
    wanted.backward(grad.double().contiguous())
    torch.testing.assert_close(y.double(), wanted, rtol=1e-5, atol=1e-5)
    for mine, reference in zip(conv.parameters(), exact.parameters(), strict=True):
        torch.testing.assert_close(mine.grad.double(), reference.grad, rtol=1e-4, atol=1e-4)
