"""Convolution of spikes against torch's."""

import pytest
import torch
from torch.nn.functional import conv2d

from spikeformers.layers.conv import ConvNorm, SpikeConv2d
from spikeformers.layers.pool import MaxPool
from spikeformers.layers.position import CPGPosition
from spikeformers.layers.sew_downsample import SEWDownsample
from spikeformers.layers.shortcut import SEWShortcut
from spikeformers.layers.stem import SPEDS, SPS, ResNetStem
from spikeformers.layers.time import merge_time, split_time
from spikeformers.neurons import LIF
from spikeformers.ops.notes import Counts, added, carried, note, noted
from spikeformers.ops.spike_conv import spike_conv2d


@pytest.mark.parametrize(
    "settings", [((1, 1), (1, 1), (1, 1), 1), ((2, 2), (1, 1), (1, 1), 2), ((1, 1), (0, 0), (2, 2), 4)]
)
@pytest.mark.parametrize("bias", [True, False])
def test_equals_torchs(settings, bias):
    x = torch.randint(0, 4, (2, 8, 7, 7), dtype=torch.float64)
    weight = torch.randn(12, 8 // settings[3], 3, 3, dtype=torch.float64)
    offset = torch.randn(12, dtype=torch.float64) if bias else None
    results = []
    for compute in (spike_conv2d, conv2d):
        inputs = [t.clone().requires_grad_() for t in (x, weight, offset) if t is not None]
        y = compute(*inputs, *([] if bias else [None]), *settings)
        weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        results.append([y, *torch.autograd.grad((y * weights).sum(), inputs)])
    assert all(torch.allclose(a, b, rtol=1e-12, atol=1e-12) for a, b in zip(*results, strict=True))


def test_under_autocast_gradients_have_the_weights_dtype():
    conv = SpikeConv2d(8, 4, 3, padding=1)
    spikes = note((torch.rand(2, 8, 5, 5) < 0.3).bfloat16().requires_grad_(), Counts(1))
    with torch.autocast("cpu", torch.bfloat16):
        y = conv(spikes)
    y.float().square().sum().backward()
    assert y.dtype == spikes.grad.dtype == torch.bfloat16
    assert conv.weight.grad.dtype == conv.bias.grad.dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        plain = conv2d(spikes.detach(), conv.weight, conv.bias, padding=1)
    assert torch.equal(y, plain)


def kept_bytes(forward):
    kept = {}
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: kept.update({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes()}) or t, lambda t: t
    ):
        result = forward()
    return sum(kept.values()), result


def test_a_layer_keeps_its_convolutions_output_and_a_byte_a_spike():
    layer, neuron = ConvNorm(32, 32, 3), LIF()
    spikes = neuron(torch.randn(2, 4, 32, 8, 8).requires_grad_())
    kept, out = kept_bytes(lambda: neuron(layer(spikes)))
    parameters = sum(p.nbytes for p in layer.parameters())
    assert out.nbytes + out.numel() <= kept < out.nbytes + out.numel() + parameters + 4096


def test_what_is_noted():
    x = torch.randn(2, 1, 8, 4, 4).requires_grad_()
    spikes = LIF()(x)
    assert noted(spikes, Counts) == Counts(1)
    assert noted(spikes * 0.5, Counts) is None
    stream = SEWShortcut(ConvNorm(8, 8), LIF)(spikes)
    assert noted(stream, Counts) == Counts(2)
    assert noted(SEWShortcut(ConvNorm(8, 8), LIF, drop_path=0.5)(stream), Counts) is None  # scaled: no counts
    spikes.detach().mul_(0.5)
    assert noted(spikes, Counts) is None


def test_what_moves_or_adds_counts_carries_their_note():
    spikes = LIF()(torch.randn(2, 3, 8, 4, 4).requires_grad_())
    merged = merge_time(spikes)
    moved = [merged, split_time(merged, 2), MaxPool(3, 2, padding=1)(merged)]
    assert [noted(x, Counts) for x in moved] == [Counts(1)] * 3
    assert noted(added(spikes, note(spikes.view_as(spikes), Counts(254))), Counts) == Counts(255)
    assert noted(added(spikes, note(spikes.view_as(spikes), Counts(255))), Counts) is None  # no byte holds them
    assert noted(added(spikes, 0.5 * spikes), Counts) is None
    assert noted(carried(merged, merged[:1]), Counts) == Counts(1)
    assert noted(carried(0.5 * merged, merged[:1]), Counts) is None
    with torch.no_grad():
        assert noted(merge_time(spikes), Counts) is None


@pytest.mark.parametrize(
    "part",
    [
        SPS(2, 8, LIF, (2, 1)),
        ResNetStem(2, 8, LIF, (1, 2)),
        SPEDS(2, 8, LIF, (2, 1)),
        SEWDownsample(ConvNorm(2, 8, 3, 2), 2, 8, LIF),
    ],
)
def test_parts_of_spikes_and_their_sums_return_counts(part):
    assert noted(part(torch.randn(2, 2, 2, 8, 8).requires_grad_()), Counts) is not None


def test_a_code_for_position_keeps_a_byte_a_spike():
    spikes = LIF()(torch.randn(2, 4, 32, 8, 8).requires_grad_())
    part = CPGPosition(32)
    part(spikes)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        part(spikes)
    assert [t.numel() for t in kept if t.dtype == torch.uint8] == [spikes.numel()]
    assert not any(t.untyped_storage().data_ptr() == spikes.untyped_storage().data_ptr() for t in kept)
