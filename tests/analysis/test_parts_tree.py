"""The parts of a model, their shapes and parameters."""

import pytest
import torch
from torch import nn

import spikeformers as sf
from spikeformers.analysis import parts_tree
from spikeformers.models import describe_model, list_families, list_models
from spikeformers.models.registry import find_family

SMALLEST = {}  # of every family
for name in sorted(list_models(), key=lambda name: -describe_model(name)["parameters"]):
    SMALLEST[find_family(name).builder.__name__] = name


def children(parts, i):
    """The lines directly under line `i`."""
    below = []
    for part in parts[i + 1 :]:
        if part.depth <= parts[i].depth:
            break
        if part.depth == parts[i].depth + 1:
            below.append(part)
    return below


@pytest.mark.parametrize("name", SMALLEST.values())
def test_parameters_add_up(name):
    with torch.device("meta"):
        model = sf.create_model(name)
    parts = parts_tree(model)
    assert parts[0].parameters == sum(p.numel() for p in model.parameters())
    for i, part in enumerate(parts):
        below = children(parts, i)
        first, _, last = part.name.partition("-")
        alike = int(last) - int(first) + 1 if last else 1
        if below:
            assert part.parameters >= alike * sum(child.parameters for child in below), part  # LayerScale has its own


def test_shapes_are_those_of_one_image():
    model = sf.create_model("spikformer_4_384_cifar10")
    parts = parts_tree(model)
    shapes = {part.name: part.shape for part in parts if part.depth <= 1}
    assert shapes == {
        "": (1, 10),
        "stem": (4, 1, 384, 8, 8),
        "position": (4, 1, 384, 8, 8),
        "blocks": (4, 1, 384, 8, 8),
        "head": (4, 1, 10),
    }
    assert [part.name for part in parts if part.depth == 2 and part.shape == (4, 1, 384, 8, 8)][-1] == "0-3"


def test_blocks_that_differ_have_lines_of_their_own():
    model = sf.create_model("spikformer_4_384_cifar10", drop_path=0.2)
    names = [part.name for part in parts_tree(model)]
    assert [name for name in names if name in "0123" and len(name) == 1][-4:] == ["0", "1", "2", "3"]


def test_looking_leaves_the_model_alone():
    model = sf.create_model("spikformer_4_256_cifar10", depth=1)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    model.train()
    parts_tree(model)
    assert model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_swapped_parts_show_their_name():
    model = sf.create_model(
        "spikformer_4_256_cifar10", depth=1, neuron=sf.neurons.PLIF, shortcut=sf.layers.shortcut.MembraneShortcut
    )
    kinds = " ".join(part.kind for part in parts_tree(model))
    assert "PLIF" in kinds
    assert "MembraneShortcut" in kinds
    assert nn.Identity.__name__ not in kinds


@pytest.mark.parametrize("tiny", ["spikformer", "sdt_v2"], indirect=True)
def test_a_folded_model_has_parts_too(tiny):
    folded = sf.deploy.fold(tiny[0])
    parts = parts_tree(folded)
    assert parts[0].parameters == sum(p.numel() for p in folded.parameters())
    assert parts[0].shape == (1, 10) and {str(p.device) for p in folded.parameters()} == {"cpu"}
    assert not {"BatchNorm2d", "RepConv"} & {part.kind.partition("(")[0] for part in parts}


def test_parts_are_those_that_stand():
    model = sf.create_model("spikformer_4_256_cifar10", depth=1)
    model.head.linear = nn.Linear(256, 7)
    assert parts_tree(model)[0].shape == (1, 7)


@pytest.mark.parametrize("name", list_families())
def test_a_family_is_no_size(name):
    with pytest.raises(ValueError, match=f"{name} is a family, not a size: choose one of {name.split('_')[0]}"):
        describe_model(name)
