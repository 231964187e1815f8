"""A folded part or model computes what it computed, in fewer layers."""

import pytest
import torch
from torch import nn

import spikeformers as sf
from spikeformers.checkpoints import identify, read_checkpoint
from spikeformers.deploy import fold
from spikeformers.layers.conv import ConvNorm, PooledConvNorm
from spikeformers.layers.projection import RepConv, RepLinear


@pytest.mark.parametrize(
    ("make", "kernel"),
    [
        (lambda: ConvNorm(8, 12, 3, 2, groups=4, bias=True), 3),
        (lambda: PooledConvNorm(8, 12, 3, 2), 3),
        (lambda: RepConv(8, 12), 3),
        (lambda: RepConv(8, 12, bias=True), 3),
        (lambda: RepLinear(8, 12), 1),
        (lambda: RepLinear(8, 12, bias=True), 1),
    ],
    ids=["ConvNorm", "PooledConvNorm", "RepConv", "RepConv with bias", "RepLinear", "RepLinear with bias"],
)
def test_a_part_is_one_convolution(make, kernel, lively):
    x = torch.rand(2, 3, 8, 6, 6)
    part = lively(make(), x)
    whole = fold(nn.Sequential(part))
    assert torch.allclose(whole(x), part(x), atol=1e-5, rtol=1e-5)
    layers = [m for m in whole.modules() if not list(m.children()) and list(m.parameters())]
    assert len(layers) == 1 and isinstance(layers[0], nn.Conv2d)
    assert layers[0].kernel_size == (kernel, kernel)
    assert part(x).std() > 0.1


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("spikformer_4_384_cifar10", dict(dim=32, depth=2, num_heads=2, image_size=16)),
        ("sdt_v2_15m", dict(dims=(8, 16, 32, 48), depths=(1, 1), num_heads=2, image_size=64, time_steps=2)),
        ("sdt_v3_83m", dict(dims=(8, 16, 32), depth=2, num_heads=2, layer_scale=0.5, image_size=64)),
        ("qkformer_4_384_cifar10", dict(dims=(16, 32), depths=(1, 1), num_heads=4, image_size=16)),
        ("maxformer_4_384_cifar10", dict(dims=(16, 32), depths=(1, 1), kernel_sizes=(3,), num_heads=4, image_size=16)),
        ("spikingresformer_ti_cifar10", dict(dims=(32, 32, 64), num_heads=(1, 1, 2), depths=(1, 1, 1), image_size=16)),
        ("sew_resnet18_cifar10", dict(dims=(16, 32), depths=(1, 1), stem_dim=16, image_size=16)),
    ],
)
def test_a_model_answers_as_before(name, numbers, lively):
    x = torch.randn(2, 3, numbers["image_size"], numbers["image_size"], dtype=torch.float64)
    model = lively(sf.create_model(name, num_classes=10, **numbers).double(), x)  # at fp32 a spike may flip
    before = {key: value.clone() for key, value in model.state_dict().items()}
    folded = fold(model)
    assert torch.allclose(folded(x), model(x), atol=1e-5)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in folded.modules())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert model(x).std() > 1e-3


def test_what_would_grow_may_stay(lively):
    x = torch.rand(2, 3, 8, 6, 6)
    parts = nn.Sequential(ConvNorm(8, 8), RepConv(8, 8), RepLinear(8, 8))
    lively(parts, x)
    before = {key: value.clone() for key, value in parts.state_dict().items()}
    folded = fold(parts, grow=False)
    assert [type(part) for part in folded] == [ConvNorm, RepConv, ConvNorm]
    assert torch.allclose(folded(x), parts(x), atol=1e-4)
    assert torch.equal(folded[1](x), parts[1](x))
    assert sum(p.numel() for p in folded.parameters()) < sum(p.numel() for p in fold(parts).parameters())
    assert all(torch.equal(value, before[key]) for key, value in parts.state_dict().items())


TINY = dict(dim=16, depth=1, num_heads=2, image_size=16, num_classes=10)


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("spikformer_4_384_cifar10", TINY),
        ("sdt_v2_15m", dict(dims=(8, 16, 32, 48), depths=(1, 1), num_heads=2, image_size=32, time_steps=2)),
        ("sdt_v3_83m", dict(dims=(8, 16, 32), depth=1, num_heads=2, layer_scale=0.5, image_size=32)),
        (
            "fpn_sdt_v3_3m",
            dict(dims=(8, 8, 16, 32), depths=(1, 1), num_heads=2, image_size=32, neck_dim=16, pyramid=(8, 16, 32)),
        ),
    ],
)
def test_a_folded_model_is_saved_and_loaded_as_it_is(tmp_path, name, numbers, lively):
    x = torch.randn(2, 3, numbers["image_size"], numbers["image_size"])
    model = lively(sf.create_model(name, **numbers), x)
    assert fold(model.train()).training is False
    assert model.training and "folded" not in model.config
    folded = fold(model)
    sf.save_pretrained(folded, tmp_path / "folded")
    again = sf.from_pretrained(tmp_path / "folded")
    assert torch.equal(again(x), folded(x)) and again.config == folded.config == {**model.config, "folded": True}
    assert not any(isinstance(m, nn.BatchNorm2d) for m in again.modules())
    (found,) = identify(read_checkpoint(tmp_path / "folded"))
    assert not found.fit.faults and "folded=True" in found.call
    assert torch.equal(fold(again)(x), folded(x))
    with pytest.raises(ValueError, match="does not fit"):
        sf.load_checkpoint(sf.create_model(name, **numbers), tmp_path / "folded")
