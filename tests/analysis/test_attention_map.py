"""Attention maps, relevance and answers at any time."""

import itertools
from types import SimpleNamespace

import pytest
import torch
from tiny_models import FAMILIES, build
from torch import nn

import spikeformers as sf
from spikeformers.analysis import anytime, attention_maps, profile, relevance
from spikeformers.analysis.attention_map import _agreed, _patches, _received, _received_in_window
from spikeformers.analysis.memory_energy import Memory
from spikeformers.layers.attention import WindowSSA
from spikeformers.models.parts import part_names


@pytest.mark.parametrize("tiny", [*FAMILIES, "sdt_events"], indirect=True)
def test_every_attention_part_has_a_map(tiny):
    model, x = tiny
    parts = [name for name, module in model.named_modules() if hasattr(module, "attn_neuron")]
    maps = attention_maps(model.train(), x)
    assert model.training and [m.name for m in maps] == parts
    for drawn in maps:
        part = model.get_submodule(drawn.name)
        heads = getattr(part, "num_heads", 1)
        assert drawn.values.shape[:3] == (model.time_steps if x.ndim == 4 else 4, 3, heads)
        assert drawn.values.ndim == 5 and drawn.values.min() >= 0
        assert len(drawn.shows) > 20
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("attention", part_names("attention"))
def test_every_attention_of_the_catalogue_has_a_map(attention):
    maps = attention_maps(build("spikformer", depth=1, attention=attention), torch.randn(2, 3, 16, 16))
    assert len(maps) == (not attention.endswith("Mixer"))
    for drawn in maps:
        assert drawn.values.ndim == 5 and drawn.values.shape[:2] == (2, 2) and drawn.values.isfinite().all()


def test_pruned_tokens_have_no_map():
    model = build("spikformer", pruning={"part": "TokenPruning", "keep": 0.5})
    kept = [drawn.name for drawn in attention_maps(model, torch.randn(2, 3, 16, 16))]
    assert kept == [] and any(hasattr(module, "attn_neuron") for module in model.modules())


@pytest.mark.parametrize("attention", ["SSA", "WideSSA"])
def test_a_map_of_a_product_is_its_row_sums(attention, lively):
    x = torch.randn(2, 3, 16, 16)
    model = lively(build("spikformer", attention=attention), x)
    caught = {}
    core = model.blocks[0].attn.core
    for name in ("q", "k"):
        getattr(core, f"{name}_neuron").register_forward_hook(lambda m, i, o, name=name: caught.update({name: o}))
    drawn = attention_maps(model, x)[0].values
    q, k = (caught[name].flatten(-2).unflatten(2, (2, 16)) for name in ("q", "k"))  # T B M D N
    scores = torch.einsum("tbmdn,tbmdo->tbmno", q, k)  # queries by keys
    assert scores.sum() > 0
    assert torch.equal(drawn.flatten(-2), scores.sum(-2))


@pytest.fixture
def masked(lively):
    """The map of a part that masks half of its keys or queries, with what its keys are and what its projection gets."""

    def masked(attention, change=lambda core: None):
        x = torch.randn(2, 3, 16, 16)
        model = lively(build("spikformer", depth=1, attention=attention), x)
        core, seen = model.blocks[0].attn.core, []
        change(core)
        core.k_neuron.register_forward_hook(lambda module, inputs, keys: seen.append(keys))
        core.attn_neuron.register_forward_hook(lambda module, inputs, mask: (torch.rand_like(mask) < 0.5).float())
        core.proj.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
        (drawn,) = attention_maps(model, x)
        return drawn.values, *(of.unflatten(2, (drawn.values.shape[2], -1)).sum(3) for of in seen)

    return masked


@pytest.mark.parametrize("attention", ["QKCA", "SDSA"])
def test_a_map_of_kept_channels_is_what_the_part_projects(attention, masked):
    drawn, _, projected = masked(attention)
    assert projected.sum() > 0 and torch.equal(drawn, projected)


@pytest.mark.parametrize("attention", ["QKTA", "MSSA"])
def test_a_map_of_kept_tokens_says_which_keys_the_part_projects(attention, masked):
    drawn, keys, projected = masked(attention)
    assert 0 < projected.sum() < keys.sum() and {*drawn.unique().tolist()} == {0, 1}
    assert torch.equal(drawn * keys, projected)


def test_a_map_of_kept_channels_of_tokens_is_what_the_part_projects_of_keys_that_all_fire(masked):
    def all_fire(core):
        core.k_neuron.register_forward_hook(lambda module, inputs, keys: torch.ones_like(keys))

    drawn, keys, projected = masked("ChannelMSSA", all_fire)
    assert keys.unique().numel() == 1 and 0 < drawn.sum() < keys.sum() and torch.equal(drawn, projected)


def test_a_map_before_the_last_pooling_is_what_the_part_projects_without_pooling(masked):
    drawn, _, projected = masked("PooledSDSA", lambda core: setattr(core, "pool", nn.Identity()))
    assert len(projected.unique()) > 2 and torch.equal(drawn, projected)


def test_a_map_of_patches_counts_the_tokens_that_fire_there():
    fires = (torch.rand(1, 1, 2, 24, 6) < 0.5).float()  # of 4 x 6 tokens, in patches of 2 x 2
    found = _patches(SimpleNamespace(patch_size=2), {"x": torch.zeros(1, 1, 8, 4, 6), "attn_neuron": fires})
    assert found.shape == (1, 1, 2, 2, 3)
    for row, column in itertools.product(range(2), range(3)):
        assert torch.equal(found[..., row, column], fires[..., 3 * row + column].sum(-1))


def test_relevance_is_where_the_evidence_is():
    """A model whose class 1 is what lights up on the right."""

    class Stem(nn.Module):
        in_channels, stride = 1, 1

        def forward(self, x):
            return x

    class Reads(nn.Module):
        num_classes = 2

        def forward(self, x):
            mean = x.mean((-2, -1))
            return torch.cat([-mean, mean], -1)  # T B 2

    from spikeformers.models import SpikingTransformer

    model = SpikingTransformer(stem=Stem(), blocks=[], head=Reads(), time_steps=2, image_size=4)
    x = torch.zeros(1, 1, 4, 4)
    x[..., 3] = 1
    drawn = relevance(model, x)
    assert drawn.shape == (2, 1, 4, 4)
    assert (drawn[..., 3] > 0).all() and (drawn[..., :3] == 0).all()
    assert (relevance(model, x, torch.tensor([0])) == 0).all()


def test_relevance_of_a_model_of_ours(lively):
    x = torch.randn(2, 3, 16, 16)
    model = lively(build("spikingformer"), x)
    drawn = relevance(model, x)
    assert drawn.shape == (2, 2, 4, 4) and drawn.isfinite().all() and drawn.min() >= 0
    assert all(p.grad is None for p in model.parameters())


def test_anytime_answers_are_those_of_shorter_runs(lively):
    x, labels = torch.randn(6, 3, 16, 16), torch.randint(0, 10, (6,))
    model = lively(build("spikformer", time_steps=3), x)
    said = anytime(model, [(x[:4], labels[:4]), (x[4:], labels[4:])])
    assert [s.steps for s in said] == [1, 2, 3]
    for s in said:
        run = x.expand(s.steps, *x.shape)
        assert s.top1 == pytest.approx(100 * (model(run).argmax(-1) == labels).float().mean())
        assert s.millijoules == profile(model, [run[:, :4]]).total("strict").millijoules
    assert said[0].millijoules < said[1].millijoules < said[2].millijoules


def test_anytime_refuses_parts_that_look_ahead():
    class Ahead(sf.neurons.LIF):
        causal = False

    model = build("spikformer", neuron=Ahead)
    with pytest.raises(ValueError, match=r"stem.stages.0.neuron \(Ahead\) looks ahead in time"):
        anytime(model, [(torch.randn(1, 3, 16, 16), torch.zeros(1))])
    with pytest.raises(ValueError, match="there are no batches: give at least one"):
        anytime(build("spikformer"), [])


def test_a_map_within_windows_is_that_of_each_window():
    model = build("spikformer", attention={"part": "WindowSSA", "splits": 2}, image_size=32)
    part = next(module for module in model.modules() if isinstance(module, WindowSSA))
    q, k = ((torch.rand(1, 1, 8, 4, 4) < 0.5).float() for _ in range(2))
    found = _received_in_window(part, {"q_neuron": q, "k_neuron": k})
    heads = part.num_heads
    for rows, columns in itertools.product((slice(0, 2), slice(2, 4)), repeat=2):
        seen = {"q_neuron": q[..., rows, columns], "k_neuron": k[..., rows, columns]}
        assert torch.equal(found[..., rows, columns], _received(SimpleNamespace(num_heads=heads), seen))


def test_a_map_of_agreements_counts_equal_bits():
    q, k = ((torch.rand(1, 1, 8, 2, 2) < 0.5).float() for _ in range(2))
    found = _agreed(SimpleNamespace(num_heads=2), {"q_neuron": q, "k_neuron": k})
    bits = [x.unflatten(2, (2, 4)).flatten(-2).transpose(-1, -2) for x in (q, k)]  # T B M N D
    equal = (bits[0][..., :, None, :] == bits[1][..., None, :, :]).sum((-1, -3))
    assert torch.equal(found.flatten(-2), equal.float())


def test_anytime_takes_costs_of_memory(lively):
    x, dear = torch.randn(2, 3, 16, 16), Memory(dram=325.0)
    model = lively(build("spikformer"), x)
    last = anytime(model, [(x, torch.zeros(2, dtype=torch.long))], convention="memory", memory=dear)[-1]
    assert last.millijoules == pytest.approx(profile(model, [x], memory=dear).total("memory").millijoules)
