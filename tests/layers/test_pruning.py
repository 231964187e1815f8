"""Pruning of tokens: which are chosen, who passes, on any trunk, and what it costs."""

import re
from functools import partial

import pytest
import torch
from tiny_models import build
from torch import nn

import spikeformers as sf
from spikeformers.analysis import profile
from spikeformers.layers import pruning as slot
from spikeformers.layers.attention import SSA
from spikeformers.layers.block import block
from spikeformers.layers.mlp import MLP
from spikeformers.layers.pruning import ReleasedTokenPruning, TokenPruning, prune_tokens
from spikeformers.layers.shortcut import MembraneShortcut
from spikeformers.models import check_model
from spikeformers.models.parts import find_part, part_names
from spikeformers.neurons import LIF

every_pruning = pytest.mark.parametrize("name", part_names("pruning"))
TRUNKS = ["spikformer", "spikingformer", "sdt", "sdt_v3", "qkformer"]  # flat and staged


def plain():
    return block(MembraneShortcut, LIF, attn=SSA(8, 2, LIF), mlp=MLP(8, 16, LIF))


@every_pruning
def test_says_how_it_stands_to_released_code(name):
    assert len(re.findall(r"Released\s+code: (?:equal|differs|none)[,;. ]", getattr(slot, name).__doc__)) == 1


@every_pruning
def test_chosen_tokens_pass_the_block_alone_and_the_others_pass_it_by(name, lively):
    x = torch.randn(4, 3, 8, 4, 4)
    whole = lively(plain(), x)
    part = find_part("pruning", name)(whole, 0, 1, keep=0.5)
    y, kept = part(x), part.kept(4, 4)
    chosen = part.score(x).topk(kept).indices  # B K
    assert kept == (8 if name == "TokenPruning" else 4)
    for sample in range(3):
        mine, others = chosen[sample], [n for n in range(16) if n not in chosen[sample]]
        came, went = x[:, sample].flatten(2), y[:, sample].flatten(2)
        assert torch.equal(went[..., others], came[..., others])
        alone = whole(came[:, None, :, None, mine])[:, 0, :, 0]
        assert torch.allclose(went[..., mine], alone, atol=1e-5)
        assert not torch.equal(went[..., mine], came[..., mine])
    assert part.state_dict().keys() == whole.state_dict().keys()


@every_pruning
def test_gradients_are_finite(name, parameters_without_gradient):
    part = find_part("pruning", name)(plain(), 0, 1, keep=0.5)
    assert parameters_without_gradient(part, torch.randn(4, 3, 8, 4, 4)) == []


def test_all_tokens_are_the_whole_block(lively):
    x = torch.randn(4, 3, 8, 4, 4)
    whole = lively(plain(), x)
    for make in (TokenPruning, ReleasedTokenPruning):
        assert torch.allclose(make(whole, 0, 1, keep=1.0)(x), whole(x), atol=1e-5)


def test_scores_by_hand():
    x = torch.ones(2, 1, 2, 1, 3)  # T B C H W: three tokens of two channels
    x[:, 0, :, 0, 2] = torch.tensor([1.0, -1.0])  # points elsewhere than its neighbours
    x[1, 0, :, 0, 0] = 3.0  # changes
    # temporal: |m| = 1 1 0, then 2 0 0; spatial: cosines 1 and 1 / sqrt(2), with (3, 1) and (1, -1): 1 / sqrt(5)
    root, first = 2**-0.5, TokenPruning(plain(), 0, 1).score(x)[0]
    near = torch.tensor([[2.0, 2.0], [3.0, 1.0], [2.0, 0.0]]), torch.tensor([[4.0, 4.0], [5.0, 3.0], [2.0, 0.0]])
    cosines = [torch.cosine_similarity(n, x[t, 0, :, 0].T) for t, n in enumerate(near)]
    assert cosines[0].tolist() == pytest.approx([1, 4 / 20**0.5, root])
    spatial = [(c.max() - c) / (c.max() - c.min()) for c in cosines]
    temporal = [torch.tensor([1.0, 1.0, 0.0]), torch.tensor([1.0, 0.0, 0.0])]
    assert first.tolist() == pytest.approx((sum(spatial + temporal) / 2).tolist(), abs=1e-6)

    released = ReleasedTokenPruning(plain(), 0, 1).score(x)[0]
    cosine = torch.tensor([-1.0, -1.0, 0.0])  # of (2, 2), (1, 1) and (1, -1) with a mean of (1, 1) direction
    assert released.tolist() == pytest.approx((cosine.softmax(0) + torch.tensor([2.0, 0.0, 0.0]).softmax(0)).tolist())


def test_released_neighbours_have_no_influence_where_nothing_is_negative():
    x = torch.poisson(torch.rand(4, 2, 8, 4, 4))
    near, far = (ReleasedTokenPruning(plain(), 0, 1, kernel_size=k).score(x) for k in (3, 7))
    assert torch.allclose(near, far)
    assert not torch.allclose(*(TokenPruning(plain(), 0, 1, kernel_size=k).score(x) for k in (3, 7)))


@pytest.mark.parametrize(
    ("side", "keep", "sides", "mean"),
    [
        ((56, 28, 28, *[14] * 7), [0.9, 0.9, 0.8, *[0.8] * 4, *[0.75] * 3], [50, 25, 22, *[11] * 4, *[10] * 3], 0.62),
        ([14] * 8, [k / 14 for k in (12, 12, 10, 10, 10, 10, 8, 8)], [12, 12, 10, 10, 10, 10, 8, 8], 0.52),
        ([14] * 8, [0.9, 0.8, 0.8, 0.8, 0.75, 0.65, 0.65, 0.65], [12, 11, 11, 11, 10, 9, 9, 9], 0.54),
    ],
    ids=["qkformer_10", "sdt_8", "sdt_v3"],
)
def test_released_schedules(side, keep, sides, mean):
    kept = [ReleasedTokenPruning(plain(), i, len(keep), keep=keep).kept(s, s) for i, s in enumerate(side)]
    assert kept == [s * s for s in sides]
    assert sum(k / s**2 for k, s in zip(kept, side, strict=True)) / len(kept) == pytest.approx(mean, abs=0.006)


@pytest.mark.parametrize("family", TRUNKS)
@every_pruning
def test_any_trunk_takes_it_by_name_and_keeps_its_keys(family, name, lively):
    torch.manual_seed(0)
    whole = build(family)
    x = torch.randn(3, 3, whole.image_size, whole.image_size)
    whole = lively(whole, x)
    model = build(family, pruning={"part": name, "keep": 0.6}).eval()
    assert model.config["pruning"] == {"part": name, "keep": 0.6}
    model.load_state_dict(whole.state_dict())
    y = model(x)
    assert not torch.equal(y, whole(x))
    alone = torch.cat([model(x[i : i + 1]) for i in range(3)])
    assert torch.allclose(alone, y, atol=1e-5) and torch.equal(model(x), y)
    check_model(model)
    again = sf.create_model(**model.config).eval()
    again.load_state_dict(model.state_dict())
    assert torch.equal(again(x), y)
    assert torch.allclose(sf.deploy.fold(model.double())(x.double()), model(x.double()), atol=1e-9)


def test_it_costs_its_share_and_no_operation_is_of_unknown_cost():
    torch.manual_seed(0)
    x = torch.randn(2, 3, 16, 16)
    model = build("spikformer").eval()
    whole = {layer.name: layer for layer in profile(model, [x]).layers}
    pruned = profile(prune_tokens(model, partial(TokenPruning, keep=0.25)), [x])
    assert not [layer.name for layer in pruned.layers if layer.op == "unknown"]
    fewer = {layer.name: layer for layer in pruned.layers}
    for name in ("q.conv", "proj.conv"):
        assert fewer[f"blocks.1.attn.core.{name}"].macs * 4 == whole[f"blocks.1.attn.core.{name}"].macs
    assert fewer["blocks.1.mlp.core.fc1.conv"].macs * 4 == whole["blocks.1.mlp.core.fc1.conv"].macs


@pytest.mark.parametrize(
    ("family", "given", "says"),
    [
        ("spikformer", dict(keep=0.0), r"keep 0.0 is not in \(0, 1\]: give the share"),
        ("spikformer", dict(keep=float("nan")), r"keep nan is not a finite number"),
        ("spikformer", dict(keep="ab"), r"keep 'ab' is not a finite number"),
        ("spikformer", dict(keep=[0.5, None]), r"keep None is not a finite number"),
        ("spikformer", dict(keep=0.5, kernel_size=2), r"kernel_size 2 is even"),
        ("spikformer", dict(keep=[0.5]), r"keep \[0.5\] is for 1 blocks: give one number, or one for each"),
        ("spikformer", dict(keep=0.5, attention="STAtten"), "STAtten, which reads the places of tokens: prune blocks"),
        ("spikformer", dict(keep=0.5, attention="GrayXNOR"), "GrayXNOR, which reads the places of tokens"),
        ("spikformer", dict(keep=0.5, attention="LogXNOR"), "LogXNOR, which reads the places of tokens"),
        ("spikformer", dict(keep=0.5, attention="DilatedWindowSSA"), "DilatedWindowSSA, which reads the places of"),
        (
            "sdt_v2",
            dict(keep=0.5),
            r"SpikeConv2d of kernel size \(3, 3\), which needs all tokens .*: prune blocks whose",
        ),
        ("sdt_events", dict(keep=0.5), r"MaxPool of kernel size 3, which needs all tokens"),
        ("sew_resnet", dict(keep=0.5), r"no blocks with attention, .*: leave out pruning"),
    ],
)
def test_what_cannot_be_pruned(family, given, says):
    others = {"attention": given["attention"]} if "attention" in given else {}
    pruning = {"part": "TokenPruning", **{key: value for key, value in given.items() if key not in others}}
    with pytest.raises(ValueError, match=says):
        build(family, pruning=pruning, **others)


def test_an_attention_that_reads_no_places_can_be_pruned():
    attention = {"part": "STAtten", "scale": 0.125}  # without one, 1 / height
    model = build("spikformer", pruning="TokenPruning", attention=attention)
    assert model(torch.randn(2, 3, 16, 16)).isfinite().all()


def test_detectors_run_on_fewer_tokens_and_bits():
    numbers = dict(dims=(32, 32, 32, 32), depths=(1, 1), num_heads=2, image_size=128)
    model = sf.create_model("retinanet_sdt_v3_3m", **numbers, pruning="TokenPruning", quantizer="LSQ").eval()
    assert sum(isinstance(block, TokenPruning) for block in model.blocks) == 2
    with torch.no_grad():
        assert all(output.isfinite().all() for output in model.forward_outputs(torch.randn(1, 3, 128, 128)).values())


def test_it_looks_ahead_so_there_is_no_streaming():
    model = build("spikformer", pruning="TokenPruning")
    with pytest.raises(
        ValueError, match=r"TokenPruning \(model.blocks.0\) looks ahead in time, .*: build the model without"
    ):
        sf.deploy.streaming(model)
    assert isinstance(model.blocks[0], nn.Sequential)
