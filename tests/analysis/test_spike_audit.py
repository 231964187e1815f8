"""What is really spike-driven, said of models of which it is known."""

import pytest
import torch
from tiny_models import build

from spikeformers.analysis import audit, firing_advice, profile, verdict
from spikeformers.analysis.neuron_activity import NeuronActivity


def findings(name, lively):
    model = build(name)
    size = model.image_size
    x = torch.randn(3, model.in_channels, size, size)
    return {finding.layer.name: finding for finding in audit(profile(lively(model, x), [x]))}


def test_spikformer_feeds_counts_into_convolutions(lively):
    found = findings("spikformer", lively)
    assert found["stem.stages.0.proj.conv"].verdict == "multiplications"
    assert found["stem.stages.0.proj.conv"].operands[0].startswith("real, such as ")
    assert found["stem.stages.1.proj.conv"].operands == ("binary", "weights")
    assert found["blocks.0.attn.core.q.conv"].verdict == "counts"
    assert found["blocks.1.mlp.core.fc1.conv"].operands[0] in ("counts up to 4", "counts up to 5")
    assert found["blocks.0.attn.core.product1"].operands == ("binary", "binary")
    said = verdict([*found.values()])
    assert said.startswith("Not entirely spike-driven")
    assert "spike counts up to " in said and "The first convolution, stem.stages.0.proj.conv, multiplies" in said


def test_spikingformer_is_spike_driven(lively):
    found = findings("spikingformer", lively)
    within = [finding for finding in found.values() if not finding.layer.role]
    assert {finding.verdict for finding in within} == {"additions"}
    assert verdict([*found.values()]).startswith("Spike-driven: ")


def test_spikingresformers_products_have_a_real_side(lively):
    found = findings("spikingresformer", lively)
    assert found["blocks.0.attn.core.product1"].operands[0] == "binary"
    assert found["blocks.0.attn.core.product1"].operands[1].startswith("real")
    assert found["blocks.0.attn.core.product1"].verdict == "additions"
    assert "of attention with a real side" in verdict([*found.values()])


def test_v3_counts_in_quarters(lively):
    found = findings("sdt_v3", lively)
    assert "counts up to 4 worth 0.25" in {finding.operands[0] for finding in found.values()}


def test_a_finding_for_programs(lively):
    says = findings("spikformer", lively)["blocks.0.attn.core.product1"].describe()
    assert says == {
        "name": "blocks.0.attn.core.product1", "verdict": "additions", "left": "binary", "right": "binary"
    }  # fmt: skip


def test_a_product_that_no_spike_reaches_is_silent(lively):
    model = build("spikformer")
    x = torch.randn(3, model.in_channels, model.image_size, model.image_size)
    lively(model, x)
    torch.nn.init.constant_(model.blocks[1].mlp.core.fc1.norm.bias, -50)
    found = {finding.layer.name: finding for finding in audit(profile(model, [x]))}
    silent = found["blocks.1.mlp.core.fc2.conv"]
    assert (silent.verdict, silent.operands) == ("silent", ("always 0", "weights"))
    assert silent.describe()["verdict"] == "silent"
    said = verdict([*found.values()])
    assert "One product (blocks.1.mlp.core.fc2.conv) is silent" in said
    counted = [sum(f.verdict == kind for f in found.values()) for kind in ("additions", "counts", "multiplications")]
    assert f"{counted[0]} of {len(found)} products only add, {sum(counted[1:])} do not" in said


def test_a_piece_of_advice_is_given_once_and_names_its_layers():
    layers = []
    for i in range(24):
        layers.append(NeuronActivity(f"blocks.{i}.neuron", "LIF"))
        layers[-1].begin()
        layers[-1].add(torch.full((2, 3, 4), 1.0 if i < 2 else 0.0), 2, 3)
    silent, stuck = firing_advice(layers)
    assert silent.startswith("In 22 layers ") and silent.count("Usual remedies") == 1
    assert all(f"blocks.{i}.neuron (100%)" in (stuck if i < 2 else silent) for i in range(24))
    assert stuck.startswith("In 2 layers ")


@pytest.mark.parametrize(("spikes", "says"), [(0.0, "never fire"), (1.0, "fire at every step"), (None, None)])
def test_advice_for_dead_and_saturated_layers(spikes, says):
    layer = NeuronActivity("blocks.0.neuron", "LIF")
    x = torch.full((2, 3, 4, 5, 5), spikes) if spikes is not None else (torch.rand(2, 3, 4, 5, 5) < 0.5).float()
    layer.begin()
    layer.add(x, 2, 3)
    lines = list(firing_advice([layer]))
    if says is None:
        assert lines == []
    else:
        assert len(lines) == 1 and "blocks.0.neuron (100%)" in lines[0] and says in lines[0]


def test_activity_by_step_and_neuron():
    layer = NeuronActivity("n", "LIF")
    first = torch.tensor([[[1.0, 0, 1]], [[1, 0, 0]]])  # T B C
    second = torch.tensor([[[1.0, 0, 0]], [[1, 0, 0]]])
    for spikes in (first, second):
        layer.begin()
        layer.add(spikes, 2, 1)
    assert layer.by_step.tolist() == [3, 2] and layer.by_neuron.tolist() == [4, 0, 1]
    assert layer.rates == [3 / 6, 2 / 6] and layer.rate == pytest.approx(5 / 12)
    assert (layer.silent, layer.saturated) == (pytest.approx(1 / 3), pytest.approx(1 / 3))
    maps = torch.rand(2, 3, 4, 5, 6).round()
    plain, last = NeuronActivity("a", ""), NeuronActivity("b", "")
    plain.add(maps, 2, 3)
    last.add(maps.flatten(0, 1).to(memory_format=torch.channels_last).unflatten(0, (2, 3)), 2, 3)
    assert torch.equal(plain.by_neuron, last.by_neuron)
    assert torch.equal(plain.by_neuron.view(4, 5, 6), maps.sum((0, 1)).long())
