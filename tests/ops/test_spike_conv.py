"""Convolution of spikes against torch's."""

import itertools

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
from spikeformers.ops.spike_product import kernels, training
from spikeformers.ops.spike_product.build import OFF


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


# ---- skipping zeros

needs_kernels = pytest.mark.skipif(kernels() is None, reason="no compiler, or they are switched off")
# batch, channels, height, width; outputs; kernel; stride, padding, dilation, groups
SHAPES = {
    "one by one": (4, 96, 5, 7, 33, (1, 1), (1, 1), (0, 0), (1, 1), 1),
    "three by three": (8, 70, 9, 5, 130, (3, 3), (1, 1), (1, 1), (1, 1), 1),
    "one number": (1, 1, 1, 1, 1, (1, 1), (1, 1), (0, 0), (1, 1), 1),
    "257 channels": (2, 257, 4, 4, 64, (3, 3), (1, 1), (1, 1), (1, 1), 1),
    "no padding": (3, 8, 6, 6, 16, (3, 3), (1, 1), (0, 0), (1, 1), 1),
    "uneven": (3, 8, 6, 9, 40, (5, 2), (1, 1), (3, 0), (1, 1), 1),
    "dilated": (3, 8, 9, 9, 16, (3, 3), (1, 1), (2, 1), (2, 3), 1),
    "wide map": (2, 3, 3, 300, 5, (3, 3), (1, 1), (1, 1), (1, 1), 1),
    "strided": (4, 24, 8, 9, 32, (3, 3), (2, 2), (1, 1), (1, 1), 1),
    "patches": (4, 24, 8, 8, 32, (2, 2), (2, 2), (0, 0), (1, 1), 1),
    "grouped": (4, 24, 8, 8, 32, (3, 3), (1, 1), (1, 1), (1, 1), 4),
    "depthwise": (4, 24, 8, 8, 24, (3, 3), (1, 1), (1, 1), (1, 1), 24),
}


def both_ways(shape, density, most, monkeypatch, dyadic=False, bias=True):
    """Current and gradients of a convolution by the kernels wherever there are any, and by torch alone."""
    monkeypatch.setattr(training, "DENSEST", 1.0)
    monkeypatch.setattr(training, "FEWEST", 1)
    monkeypatch.setattr(training, "DENSEST_GRADIENT", 1.0)
    batch, channels, height, width, dim, kernel, *settings = shape
    groups = settings[-1]
    draw = torch.Generator().manual_seed(0)

    def numbers(*size):
        if dyadic:
            return torch.randint(-8, 9, size, generator=draw) / 16
        return torch.randn(size, generator=draw)

    x = (torch.rand(batch, channels, height, width, generator=draw) < density).float()
    x = x * torch.randint(1, most + 1, x.shape, generator=draw)
    weight, offset = numbers(dim, channels // groups, *kernel), numbers(dim) if bias else None
    results = []
    for compute in (lambda *given: spike_conv2d(*given, most), conv2d):
        inputs = [t.clone().requires_grad_() for t in (x, weight, offset) if t is not None]
        y = compute(*inputs, *([] if bias else [None]), *settings)
        grad = torch.randint(-8, 9, y.shape, generator=torch.Generator().manual_seed(1)) / 16
        results.append([y.detach(), *torch.autograd.grad(y, inputs, grad)])
    return results


@needs_kernels
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("density, most", [(0.0, 1), (0.15, 1), (1.0, 1), (0.3, 5)])
def test_skipping_zeros_changes_nothing_but_rounding(shape, density, most, monkeypatch):
    called = []
    plain = training.weight_gradient
    monkeypatch.setattr(training, "weight_gradient", lambda *a, **k: called.append(a) or plain(*a, **k))
    exact = both_ways(SHAPES[shape], density, most, monkeypatch, dyadic=True, bias=density > 0)
    assert all(torch.equal(a, b) for a, b in zip(*exact, strict=True))
    assert bool(called) == (shape not in ("strided", "patches", "grouped", "depthwise"))
    for ours, expected in zip(*both_ways(SHAPES[shape], density, most, monkeypatch), strict=True):
        assert torch.allclose(ours, expected, rtol=1e-5, atol=1e-4)


@needs_kernels
@pytest.mark.parametrize("shape", ["one by one", "three by three", "257 channels"])
def test_gradients_are_the_same_for_any_number_of_threads(shape, monkeypatch):
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            y, _, grad_weight, _ = both_ways(SHAPES[shape], 0.2, 1, monkeypatch)[0]  # that of x is torch's
            results.append((y, grad_weight))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for other in results[1:] for a, b in zip(results[0], other, strict=True))


@needs_kernels
def test_zeros_are_skipped_in_training_only_and_can_be_switched_off(monkeypatch):
    called = []
    plain = training.current
    monkeypatch.setattr(training, "current", lambda *a, **k: called.append(a) or plain(*a, **k))
    conv, x = SpikeConv2d(32, 8, 3, padding=1), (torch.rand(2, 32, 6, 6) < 0.1).float()
    expected = conv2d(x, conv.weight, conv.bias, padding=1)
    for mode, off in itertools.product((True, False), ("0", "1")):
        monkeypatch.setenv(OFF, off)
        called.clear()
        y = conv.train(mode)(note(x.clone().requires_grad_(), Counts(1)))
        assert bool(called) == (mode and off == "0") and torch.allclose(y, expected, atol=1e-5)


@needs_kernels
@pytest.mark.parametrize(
    "density, channels, forward, backward", [(0.1, 64, 1, 1), (0.1, 31, 0, 1), (0.4, 64, 0, 1), (0.9, 64, 0, 0)]
)
def test_density_and_channels_decide(density, channels, forward, backward, monkeypatch):
    called = []
    for name in ("current", "weight_gradient"):
        plain = getattr(training, name)
        monkeypatch.setattr(
            training, name, lambda *a, name=name, plain=plain, **k: called.append(name) or plain(*a, **k)
        )
    x = (torch.rand(4, channels, 8, 8, generator=torch.Generator().manual_seed(0)) < density).float().requires_grad_()
    weight = torch.randn(32, channels, 3, 3, requires_grad=True)
    spike_conv2d(x, weight, None, (1, 1), (1, 1), (1, 1), 1, 1).sum().backward()
    assert (called.count("current"), called.count("weight_gradient")) == (forward, backward)
