"""Patch embeddings with a deformed shortcut and query-key attention, where released figures do not pin them."""

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d

from spikeformers.layers.attention import QKCA
from spikeformers.layers.conv import ConvNorm, PooledConvNorm
from spikeformers.layers.stem import SPEDS, MembraneSPEDS
from spikeformers.neurons import LIF


@pytest.fixture
def x():
    return torch.randint(0, 3, (3, 2, 8, 8, 4)).double()


def test_channels_of_keys_stay_where_queries_say(x):
    qkca = QKCA(8, 2, LIF).double()
    outputs = {}
    for name, part in qkca.named_children():
        part.register_forward_hook(lambda _, inputs, output, name=name: outputs.update({name: (inputs[0], output)}))
    qkca(x)
    q, k, (sums, mask), masked = (
        outputs["q_neuron"][1],
        outputs["k_neuron"][1],
        outputs["attn_neuron"],
        outputs["proj"][0],
    )
    assert torch.equal(sums.squeeze(), torch.einsum("tbchw->tbc", q))
    assert torch.equal(masked, torch.einsum("tbchw,tbc->tbchw", k, mask[..., 0, 0]))
    assert qkca.attn_neuron.v_threshold == 0.5


def test_pools_the_current_where_it_would_stride(x):
    conv = PooledConvNorm(8, 6, 3, 2).double().eval()
    frames = x.flatten(0, 1)
    current = conv2d(frames, conv.conv.weight, padding=1) / (1 + conv.norm.eps) ** 0.5
    assert torch.allclose(conv(x), nn.functional.max_pool2d(current, 3, 2, padding=1).view(3, 2, 6, 4, 2))
    with pytest.raises(ValueError, match="stride 4 of a pooled convolution is not 1 or 2"):
        PooledConvNorm(8, 8, 3, 4)


@pytest.mark.parametrize("embedding", [SPEDS, MembraneSPEDS])
def test_widths_double_up_to_dim(embedding):
    def widths(*args, **numbers):
        part = embedding(*args, **numbers)
        convs = [m.conv for units in (part.lead, part.main) for m in units.modules() if isinstance(m, ConvNorm)]
        assert part.side.conv.out_channels == args[1]
        return [(conv.in_channels, conv.out_channels) for conv in convs], part.side.conv.in_channels

    assert widths(3, 32, LIF, (2, 2, 1)) == ([(3, 16), (16, 32), (32, 32)], 16)
    assert widths(2, 32, LIF, (1, 2, 2, 2), lead=2, narrow=8) == ([(2, 4), (4, 8), (8, 16), (16, 32)], 8)
    assert widths(16, 32, LIF, (2, 1), lead=0, narrow=1) == ([(16, 32), (32, 32)], 16)


@pytest.mark.parametrize("embedding", [SPEDS, MembraneSPEDS])
@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (dict(lead=2), r"lead 2 of strides \(2, 1\) leaves no convolution parallel to the shortcut: give 0 to 1"),
        (dict(lead=-1), "lead -1 is below 0"),
        (dict(narrow=3), "dim 16 is not a multiple of narrow 3"),
        (dict(narrow=8), "2 widths from dim 16 / narrow 8 end at 4"),
    ],
)
def test_errors(embedding, wrong, says):
    with pytest.raises(ValueError, match=says):
        embedding(3, 16, LIF, (2, 1), **wrong)
