"""Norms across processes: two processes by gloo compute what one does on both their batches, in float64."""

import copy

import pytest
import torch
import torch.distributed as dist
from tiny_models import build
from torch import nn

import spikeformers as sf
from spikeformers.layers.conv import ConvNorm
from spikeformers.layers.synchronised import norm_across, synchronise

CASES = {
    "static image": ("spikformer", {}),
    "sequence": ("spikformer_events", {}),
    "chains": ("sdt_v3", {}),
    "chains of RepConv": ("sdt_v2", {}),
    "rates of attention": ("spikingresformer", {}),
    "deviations of a head's steps": ("sglformer", {}),
}


def weighted(model, x, weights):
    """A loss that is a sum over samples, so that two processes' losses add up to one's."""
    return (model(x) * weights).sum()


def gradients(model):
    return [p.grad for p in model.parameters()]


def case(name):
    torch.manual_seed(1)
    base, overrides = CASES[name]
    model = build(base, **overrides).double().train()
    channels, size = model.in_channels, model.image_size
    clips = name == "sequence"
    x = torch.randn(*((2,) if clips else ()), 5, channels, size, size, dtype=torch.float64) + 0.5
    return model, x, torch.randn(5, model.num_classes, dtype=torch.float64)


def trained(rank, name, make_lean):
    """Three of five samples, or two: unequal shares."""
    model, x, weights = case(name)
    model = synchronise(model)
    model = sf.recompute_blocks(model) if make_lean else model
    share = slice(0, 3) if rank == 0 else slice(3, 5)
    mine = x[:, share] if x.ndim == 5 else x[share]
    weighted(model, mine, weights[share]).backward()
    for gradient in gradients(model):
        dist.all_reduce(gradient)
    return {key: value.numpy() for key, value in model.state_dict().items()}, [g.numpy() for g in gradients(model)]


@pytest.mark.parametrize(
    ("name", "make_lean"), [*((name, False) for name in CASES), ("static image", True), ("chains of RepConv", True)]
)
def test_two_processes_are_one(name, make_lean, in_two_processes):
    (state, grads), _ = in_two_processes(trained, name, make_lean)
    model, x, weights = case(name)
    weighted(model, x, weights).backward()
    assert state.keys() == model.state_dict().keys()
    for key, value in model.state_dict().items():
        assert torch.allclose(torch.from_numpy(state[key]), value, rtol=1e-9, atol=1e-11), key
    largest = max(gradient.abs().max().item() for gradient in gradients(model))  # a bias before a norm has none
    for (key, p), gradient in zip(model.named_parameters(), grads, strict=True):
        assert torch.allclose(p.grad, torch.from_numpy(gradient), rtol=1e-7, atol=1e-12 * largest), key


def test_without_it_they_are_not():
    """The test above would see statistics that are each process's own."""
    model, x, weights = case("static image")
    whole, halves = copy.deepcopy(model), copy.deepcopy(model)
    weighted(whole, x, weights).backward()
    for share in (slice(0, 3), slice(3, 5)):
        weighted(halves, x[share], weights[share]).backward()
    assert any(not torch.allclose(a, b, rtol=1e-3) for a, b in zip(gradients(whole), gradients(halves), strict=True))


def test_one_process_and_keys_stay_as_they_are():
    model, x, weights = case("chains")
    twin = synchronise(copy.deepcopy(model))
    for m in (model, twin):
        weighted(m, x, weights).backward()
    assert all(torch.equal(a, b) for a, b in zip(gradients(model), gradients(twin), strict=True))
    assert model.state_dict().keys() == twin.state_dict().keys()


def test_norms_of_another_kind_are_named():
    part = ConvNorm(3, 8)
    part.norm = nn.GroupNorm(2, 8)
    synchronise(part)  # has no statistics of a batch
    part.norm = nn.BatchNorm1d(8)
    with pytest.raises(ValueError, match="norm is a BatchNorm1d, which cannot synchronise: use BatchNorm2d"):
        synchronise(part)


def test_statistics_of_bfloat16_are_float32(tmp_path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1)
    try:
        norm, x = nn.BatchNorm2d(4), (torch.randn(3, 4, 5, 5) + 2).bfloat16().requires_grad_()
        y, mean, _ = norm_across(norm, x, 1)
        y.float().square().sum().backward()
    finally:
        dist.destroy_process_group()
    expected = nn.BatchNorm2d(4)
    expected(x.detach().float())
    assert mean.dtype == torch.float32 and x.grad is not None and x.grad.isfinite().all()
    for ours, theirs in ((norm.running_mean, expected.running_mean), (norm.running_var, expected.running_var)):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_norms_on_regions_are_refused():
    sizes = dict(
        dims=(32, 32, 32, 32), depths=(1, 1), num_heads=2, image_size=64, neck_dim=32, head_depth=1, head_dim=16
    )
    with pytest.raises(
        ValueError, match=r"norms on regions, .*: set model\.head_conv PlainConv, or leave out sync_norm"
    ):
        synchronise(sf.create_model("mask_rcnn_sdt_v3_5m", **sizes))
    synchronise(sf.create_model("mask_rcnn_sdt_v3_5m", head_conv="PlainConv", **sizes))
