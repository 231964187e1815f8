"""An unrolled network answers as the integer one, in binary products only."""

import copy
from functools import partial

import pytest
import torch
from tiny_models import FAMILIES, build
from torch import nn

import spikeformers as sf
from spikeformers.analysis import audit, profile
from spikeformers.deploy.steps import Steps
from spikeformers.deploy.unrolling import unroll
from spikeformers.layers.attention import QKTA, SDSA, DilatedWindowSSA, MaxPoolMixer, PooledSDSA, STAtten
from spikeformers.layers.mlp import SpikingSepConv
from spikeformers.neurons import ILIF, LIF, NILIF, IntegerHalfEven, IntegerHalfUp, TernaryLIF

INTEGER = [IntegerHalfEven, partial(IntegerHalfUp, unit=1.0), ILIF, NILIF]
# Every family, with its own integer neuron or with one of ours in turn; LIF counts after SEW shortcuts only.
CASES = [(name, None if "v3" in name else INTEGER[i % 4]) for i, name in enumerate(FAMILIES)]
# SWformer's products have no layer whose weights could take the unit
CASES = [case for case in CASES if case[0] not in ("sdt_v2", "qsd", "swformer")]
CASES += [(name, NILIF, {"mixer_mlp": SpikingSepConv}) for name in ("sdt_v2", "qsd")]
CASES += [("spikformer", LIF), ("sew_resnet", LIF)]
PARTS = [QKTA, SDSA, PooledSDSA, STAtten, DilatedWindowSSA, MaxPoolMixer]
CASES += [("spikformer", partial(IntegerHalfEven, max_count=2), {"attention": part}) for part in PARTS]


def made(name, neuron=None, parts=None):
    model = build(name, **({"neuron": neuron} if neuron else {}), **(parts or {})).double()  # at fp32 a count may flip
    size = model.image_size
    return model, torch.randn(2, model.in_channels, size, size).double()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_families_answer_as_before_in_binary_products(case, lively):
    model, x = made(*case)
    model = lively(model, x)
    before = copy.deepcopy(model.state_dict())
    unrolled = unroll(model)
    assert torch.allclose(unrolled(x), model(x), atol=1e-5) and model(x).std() > 1e-3
    assert torch.equal(unrolled.forward_steps(x).mean(0), unrolled(x))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())

    whole, steps = profile(sf.deploy.fold(model), [x]), profile(unrolled, [x])
    assert whole.twin and steps.twin is None and '"twin": null' in steps.to_json()
    found = [finding for finding in audit(steps) if not finding.layer.role]
    # After a pool or a sum of spikes (MSViT's two gates) there are no weights that a norm or a factor could go into.
    alone = [finding for finding in found if ".norm." in finding.layer.name or ".scale" in finding.layer.name]
    assert {finding.verdict for finding in found if finding not in alone} <= {"additions", "silent"}
    assert sum(finding.verdict == "additions" for finding in found) >= 4
    costs = []
    for counted in (whole, steps):
        layers = [(layer, energy) for layer, energy in counted.by_layer("integer") if layer.right is None]
        costs.append({layer.name: energy for layer, energy in layers if layer.op in ("convolution", "linear")})
    assert costs[0].keys() == costs[1].keys()
    for name, energy in costs[0].items():
        if "attn.core" in name and not name.endswith(("q.conv", "k.conv", "v.conv")):
            continue  # may read a product of two counts, n m spikes
        assert (costs[1][name].ac, costs[1][name].mac) == pytest.approx((energy.ac, energy.mac)), name
    assert steps.samples == whole.samples and steps.steps == whole.steps


@pytest.mark.parametrize("name", FAMILIES)
def test_dyadic_weights_give_the_same_numbers(name):
    torch.manual_seed(0)
    model, x = made(name, None if "v3" in name else partial(IntegerHalfEven, max_count=4))
    folded = sf.deploy.fold(model)
    for parameter in folded.parameters():
        parameter.copy_(torch.randint(-8, 9, parameter.shape) / 16)
    x = (x * 8).round() / 8
    assert torch.equal(unroll(folded)(x), folded(x)) and folded(x).unique().numel() > 5


def test_a_bias_enters_once_and_units_go_into_weights():
    part = nn.Sequential(IntegerHalfEven(max_count=4), nn.Linear(1, 1))
    nn.init.constant_(part[1].weight, 2.0)
    nn.init.constant_(part[1].bias, 5.0)
    x = torch.tensor([[0.0], [1.0], [3.0], [9.0]])
    assert unroll(part)(x).flatten().tolist() == [5.0, 5.5, 6.5, 7.0]


def test_a_product_of_two_counts_pairs_all_steps():
    class Product(nn.Module):
        def __init__(self):
            super().__init__()
            self.q_neuron, self.k_neuron = ILIF(max_count=4), ILIF(max_count=8)

        def forward(self, x):
            return self.q_neuron(x) @ self.k_neuron(x).transpose(-2, -1) * 0.5

    x = torch.tensor([[[3.0, 2.0], [0.0, 7.0]]])  # counts 3 2, 0 4 and 3 2, 0 7
    unrolled = unroll(Product())
    assert torch.equal(unrolled(x), Product()(x)) and unrolled(x)[0].tolist() == [[6.5, 7.0], [4.0, 14.0]]
    (finding,) = [finding for finding in audit(profile(unrolled, [x])) if finding.layer.op == "product"]
    assert finding.operands == ("binary", "binary")
    assert finding.layer.hits == 2 * sum(map(sum, unrolled(x)[0].tolist()))


@pytest.mark.parametrize(
    "function",
    [
        lambda a, b: torch.cat([a, 1 - a], -1) @ torch.cat([b, b], -2),
        lambda a, b: torch.stack([a, b], 1).sum(1) + b,
        lambda a, b: nn.functional.max_pool2d(a * b + a, 2),
        lambda a, b: nn.functional.max_pool2d(a * -1.0, 2) + nn.functional.max_pool2d(-b, 2),
        lambda a, b: nn.functional.pad(a, (1, 1), value=1.0) + nn.functional.pad(b, (1, 1), "constant", 2.0),
        lambda a, b: nn.functional.pad(a, (1, 1)) + nn.functional.pad(b, (1, 1, 1, 1), "reflect")[..., 1:-1, :],
        lambda a, b: (a + a).mean((-2, -1), keepdim=True) * b / 4,
        lambda a, b: torch.cat([*a[1:], b[0]], 0).cumsum(0),
        lambda a, b: a.mT @ b.flip(-1) - b.roll(1, -1) * 0.5 + a.amax() + len(b),
        lambda a, b: nn.functional.avg_pool2d(a, 2) * (b[..., ::2, ::2] >= 0.5).to(b.dtype),
        lambda a, b: -a ** 2 + torch.einsum("tcij,tcjk->tcik", a, b) + a.softmax(-1) + b.new_ones(a.shape) * 2,
        lambda a, b: nn.functional.conv1d(a.flatten(2), b.flatten(2)[:1, :, :3]) + a.size(0) + a.numel() + a.stride(1),
    ],
)  # fmt: skip
def test_whatever_reads_steps_gets_their_sum(function):
    counts = torch.randint(0, 4, (2, 3, 2, 4, 4)) / 2.0
    a, b = counts[0], counts[1]
    steps = [Steps(torch.stack([(x > n / 2) / 1.0 for n in range(3)]), 0.5, binary=True, in_order=True) for x in (a, b)]
    found = function(*steps)
    assert torch.equal(found.plain() if isinstance(found, Steps) else found, function(a, b))


def test_a_neuron_fires_at_each_step_of_a_count(lively):
    model, x = made("sdt_v3")
    activity = profile(unroll(lively(model, x)), [x]).activity[0]
    assert len(activity.rates) == model.time_steps * 4
    assert activity.rates[:4] == sorted(activity.rates[:4], reverse=True) and activity.rates[0] > activity.rates[3] > 0


def test_other_neurons_stay_as_they_are(lively):
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.counts, self.signs, self.linear = ILIF(), TernaryLIF(), nn.Linear(4, 4)

        def forward(self, x):
            return self.signs(self.linear(self.counts(x)))

    model, x = Mixed(), torch.randn(3, 2, 4) * 3
    assert torch.equal(unroll(model)(x), model(x)) and set(model(x).unique().tolist()) == {-1, 0, 1}


@pytest.mark.parametrize("make", [partial(build, "sdt"), partial(build, "sdt_v2", neuron=TernaryLIF), nn.Flatten])
def test_a_model_without_integer_neurons(make):
    with pytest.raises(ValueError, match=r"^[^\n]+ nothing to unroll: give a model with integer neurons[^\n]+$"):
        unroll(make())


def test_it_exports():
    model = unroll(build("spikformer", dim=16, depth=1, num_heads=1, time_steps=1, neuron=IntegerHalfEven))
    x = torch.randn(1, 3, 16, 16)
    assert torch.equal(torch.export.export(model, (x,), strict=False).module()(x), model(x))
