"""What is written piece by piece is written whole: with NaN in all memory at first, none comes out."""

import pytest
import torch
from tiny_models import FAMILIES

from spikeformers.ops.lif import lif
from spikeformers.ops.max_pool import max_pool2d
from spikeformers.ops.rounding import round_half_even, round_half_up
from spikeformers.ops.spike_attention import spike_attention
from spikeformers.ops.spike_conv import spike_conv2d
from spikeformers.ops.surrogate import ATan, Sigmoid, Triangle, spike

WEIGHT = torch.randn(8, 4, 3, 3, generator=torch.Generator().manual_seed(0))
OPS = {
    "lif": lif,
    "lif_soft": lambda x: lif(x, 2.0, 1.0, None, detach_reset=False),
    "lif_reset": lambda x: lif(x, 3.0, 1.0, 0.25, decay_input=False),
    "lif_learned": lambda x: lif(x, torch.tensor(2.0, requires_grad=True)),
    "lif_channels": lambda x: lif(x, torch.full((x.shape[2], 1, 1), 2.0, requires_grad=True)),
    "lif_reference": lambda x: lif(x, backend="reference"),
    "spike": lambda x: torch.stack([spike(x, surrogate) for surrogate in (Sigmoid(), ATan(), Triangle())]),
    "rounding": lambda x: round_half_even(x, 4) + round_half_up(x, 4),
    "attention": lambda x: spike_attention(x, x, x, 0.5),
    "conv": lambda x: spike_conv2d(
        x.flatten(0, 1).relu().round(), WEIGHT.to(x.dtype), None, (2, 1), (1, 2), (1, 2), 1
    ),
    "pool": lambda x: max_pool2d(x.flatten(0, 1), 3, 2, 1),
    "pool_ceil": lambda x: max_pool2d(x.flatten(0, 1), (3, 2), (2, 3), (1, 0), (2, 1), True),
}  # fmt: skip
LAYOUTS = {
    "contiguous": lambda x: x,
    "channels_last": lambda x: x.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, x.shape[:2]),
    "one_step_at_all": lambda x: x[:1].expand_as(x),
    "strided": lambda x: torch.stack([x, x], -1)[..., 0],
    "turned": lambda x: x.transpose(-1, -2).contiguous().transpose(-1, -2),
    "batch_first": lambda x: x.transpose(0, 1).contiguous().transpose(0, 1),
    "one_sample": lambda x: x[:, :1],
    "no_sample": lambda x: x[:, :0],
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("op", OPS.values(), ids=OPS)
def test_no_op_leaves_memory_unwritten(op, layout, dtype):
    assert torch.empty(3).isnan().all()  # or there is nothing to see
    x = layout(2 * torch.randn(3, 5, 4, 7, 6).to(dtype)).requires_grad_()
    y = op(x)
    (grad,) = torch.autograd.grad(y, x, torch.randn_like(y))
    assert not y.isnan().any()
    assert not grad.isnan().any()
    with torch.no_grad():
        assert torch.equal(op(x), y)


@pytest.mark.parametrize("tiny", FAMILIES, indirect=True)
def test_no_model_leaves_memory_unwritten(tiny):
    model, x = tiny
    for training in (True, False):
        logits = model.train(training)(x)
        logits.sum().backward()
        assert not logits.isnan().any()
    assert not any(p.grad.isnan().any() for p in model.parameters())


def test_lif_in_pieces(monkeypatch):
    monkeypatch.setattr("spikeformers.ops.lif.eager._IN_CACHE", 50)
    x = torch.randn(3, 7, 4, 3, 2).requires_grad_()
    for seen in (x, LAYOUTS["channels_last"](x), LAYOUTS["one_step_at_all"](x)):
        y = lif(seen)
        expected = lif(seen, backend="reference")
        assert torch.equal(y, expected)
        grads = [torch.autograd.grad(spikes.sum(), x, retain_graph=True)[0] for spikes in (y, expected)]
        assert torch.allclose(*grads, atol=1e-5)
