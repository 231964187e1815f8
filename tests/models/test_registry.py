"""Models by name, parts by class, name, mapping and file, and the settings that rebuild them."""

import json
import re
import textwrap
from functools import partial

import pytest
import torch
from torch import nn

import spikeformers as sf
from spikeformers.cli import main
from spikeformers.layers.attention import SSA
from spikeformers.layers.shortcut import MembraneShortcut
from spikeformers.models import register
from spikeformers.models.parts import find_part
from spikeformers.models.registry import _FAMILIES
from spikeformers.neurons import IF, LIF, PLIF, from_spikingjelly
from spikeformers.ops.surrogate import ATan, Sigmoid, Triangle

SIZE = "spikformer_4_384_cifar10"
TINY = dict(dim=16, depth=1, num_heads=2, image_size=8, time_steps=2)
X = torch.randn(2, 3, 8, 8)

OWN_FILE = """
    from __future__ import annotations

    from collections.abc import Sequence
    from typing import Literal, Optional

    from spikeformers.layers.attention import SSA
    from spikeformers.layers.contracts import MakeAttention, MakeNeuron
    from spikeformers.layers.head import Head
    from spikeformers.layers.stem import SPS
    from spikeformers.models import SpikingTransformer
    from spikeformers.neurons import LIF

    class Mine(SSA):
        pass

    def flat(
        *, dim: int = 8, tag: str = "a", widths: Sequence[int] = (1, 2), rate: Optional[float] = None,
        style: Literal["x", "y"] = "x", neuron: MakeNeuron = LIF, attention: MakeAttention = Mine,
    ) -> SpikingTransformer:
        blocks = [attention(dim, 2, neuron)]
        return SpikingTransformer(
            stem=SPS(3, dim, neuron, (2,)), blocks=blocks, head=Head(dim, 4, neuron), time_steps=2, image_size=8
        )
"""


def tiny(**overrides):
    return sf.create_model(SIZE, **{**TINY, **overrides})


@pytest.fixture
def own_file(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(textwrap.dedent(OWN_FILE))
    return path


class Narrow(nn.Module):
    """A neuron of a user's that wants to know the time steps."""

    levels, causal = (0.0, 1.0), True

    def __init__(self, *, v_threshold: float = 1.0, time_steps: int):
        super().__init__()
        self.neuron = LIF(v_threshold=v_threshold)
        self.weight = nn.Parameter(torch.ones(time_steps))

    def forward(self, x):
        return self.neuron(x * self.weight.view(-1, *[1] * (x.ndim - 1)))


# How a part is given, as JSON or as Python; how settings spell it; and what to find in the model.
SWAPS = [
    (dict(neuron=PLIF), {"neuron": "PLIF"}, lambda m: isinstance(m.stem.stages[0].neuron, PLIF)),
    (dict(neuron="IF"), {"neuron": "IF"}, lambda m: isinstance(m.blocks[0].attn.neuron, IF)),
    (
        dict(neuron={"part": "LIF", "tau": 3.0, "v_reset": None}),
        {"neuron": {"part": "LIF", "tau": 3.0, "v_reset": None}},
        lambda m: (m.stem.stages[0].neuron.tau, m.blocks[0].attn.core.attn_neuron.v_threshold) == (3.0, 0.5),
    ),
    (
        dict(neuron=partial(LIF, surrogate=ATan(3.0))),
        {"neuron": {"part": "LIF", "surrogate": {"part": "ATan", "alpha": 3.0}}},
        lambda m: m.stem.stages[0].neuron.surrogate == ATan(3.0),
    ),
    (
        dict(neuron={"part": "PLIF", "surrogate": "Triangle"}),
        {"neuron": {"part": "PLIF", "surrogate": "Triangle"}},
        lambda m: m.stem.stages[0].neuron.surrogate == Triangle(),
    ),
    (
        dict(neuron=partial(LIF, surrogate=Sigmoid())),
        {"neuron": {"part": "LIF", "surrogate": "Sigmoid"}},
        lambda m: m.stem.stages[0].neuron.surrogate == Sigmoid(4.0),
    ),
    (
        dict(attention={"part": "SSA", "scale": 0.5}),
        {"attention": {"part": "SSA", "scale": 0.5}},
        lambda m: m.blocks[0].attn.core.scale == 0.5,
    ),
    (
        dict(attention=partial(partial(SSA, scale=0.5), scale=0.75)),
        {"attention": {"part": "SSA", "scale": 0.75}},
        lambda m: m.blocks[0].attn.core.scale == 0.75,
    ),
    (
        dict(shortcut=MembraneShortcut, mlp_ratio=2),
        {"shortcut": "MembraneShortcut", "mlp_ratio": 2},
        lambda m: isinstance(m.blocks[0].mlp, MembraneShortcut) and m.blocks[0].mlp.core.fc1.conv.out_channels == 32,
    ),
    (
        dict(neuron=from_spikingjelly("LIFNode", tau=3.0)),
        {"neuron": {"part": "SpikingJellyNeuron", "node": "LIFNode", "tau": 3.0}},
        lambda m: m.stem.stages[0].neuron.node.tau == 3.0,
    ),
    (
        dict(stem="SPS", strides=[1, 1, 1, 2], head="Head", position="ConvPosition", mlp="MLP"),
        {"strides": [1, 1, 1, 2], "stem": "SPS", "head": "Head", "position": "ConvPosition", "mlp": "MLP"},
        lambda m: m.stem.stride == 2,
    ),
]


@pytest.mark.parametrize(("given", "spelt", "found"), SWAPS, ids=lambda v: str(v) if isinstance(v, dict) else "")
def test_parts_are_swapped_and_written_down(given, spelt, found):
    model = tiny(**given)
    assert found(model)
    model(X).sum().backward()
    assert {key: model.config[key] for key in spelt} == spelt
    again = sf.create_model(**json.loads(json.dumps(model.config)))
    assert again.config == model.config
    assert found(again)
    assert repr(again) == repr(model)


def test_a_part_from_a_file(own_file):
    model = tiny(attention=f"{own_file}:Mine", neuron={"part": "LIF", "tau": 4.0})
    part = type(model.blocks[0].attn.core)
    assert (part.__name__, part.__bases__) == ("Mine", (SSA,))
    assert model.config["attention"] == f"{own_file}:Mine"
    again = sf.create_model(**json.loads(json.dumps(model.config)))
    assert type(again.blocks[0].attn.core) is part
    assert tiny(attention={"part": f"{own_file}:Mine", "scale": 0.5}).blocks[0].attn.core.scale == 0.5


def test_a_builder_from_a_file(own_file, monkeypatch):
    model = sf.create_model(f"{own_file}:flat", dim=16, neuron=PLIF, widths=[3, 4], style="y")
    assert model(X).shape == (2, 4)
    assert model.config["name"] == f"{own_file}:flat"
    assert (model.config["attention"], model.config["widths"]) == (f"{own_file}:Mine", [3, 4])
    assert sf.create_model(**json.loads(json.dumps(model.config))).config == model.config
    monkeypatch.chdir(own_file.parent)
    assert sf.create_model("own.py:flat")(X).shape == (2, 4)


def test_a_part_from_a_module():
    model = tiny(attention="spikeformers.layers.attention.ssa:SSA")
    assert model.config["attention"] == "SSA"


def test_a_family_with_numbers():
    model = sf.create_model("spikformer", **TINY, strides=(1, 2), num_classes=5)
    assert model(X).shape == (2, 5)
    assert model.config["name"] == "spikformer"


def test_neurons_that_want_it_are_told_the_time_steps():
    model = tiny(neuron=Narrow, time_steps=3)
    assert {n.weight.numel() for n in model.modules() if isinstance(n, Narrow)} == {3}
    assert model.config["neuron"].endswith(":Narrow")
    assert model(X).shape == (2, 10)
    assert tiny(neuron=partial(Narrow, time_steps=7)).stem.stages[0].neuron.weight.numel() == 7  # said by hand


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: sf.create_model("spikformer_8_515"), "no model 'spikformer_8_515': did you mean .*spikformer_8_512"),
        (lambda: sf.create_model("resnet"), "no model 'resnet'.*file.py:builder"),
        (lambda: tiny(num_class=3), "takes no 'num_class': did you mean num_classes"),
        (lambda: tiny(zzz=3), "takes no 'zzz': did you mean dim, depth"),
        (lambda: tiny(neuron="PLIFF"), "no neuron 'PLIFF': did you mean PLIF"),
        (lambda: tiny(attention="SSSA"), "no attention 'SSSA': did you mean .*SSA"),
        (lambda: tiny(neuron={"part": "LIF", "taw": 3}), "neuron LIF takes no 'taw': did you mean tau"),
        (
            lambda: tiny(neuron={"part": "LIF", "detach_reset": 7.0}),
            "LIF takes true or false for detach_reset, not 7.0",
        ),
        (lambda: tiny(neuron={"part": "LIF", "surrogate": "Atan"}), "no surrogate 'Atan': did you mean ATan"),
        (lambda: tiny(neuron={"tau": 3.0}), "has no part: write {part: "),
        (lambda: tiny(neuron=LIF()), "neuron LIF.* is not a part: give a class"),
        (lambda: tiny(neuron=3), "neuron 3 is not a part"),
        (lambda: tiny(neuron=None), "neuron None is not a part"),
        (lambda: tiny(neuron="no_such_package:LIF"), "no_such_package:LIF cannot be loaded"),
        (lambda: tiny(neuron="no_such_file.py:LIF"), "there is no file .*no_such_file.py"),
        (lambda: tiny(neuron="torch.nn:Relu"), "torch.nn has no Relu: did you mean ReLU"),
        (lambda: tiny(neuron="spikeformers.neurons:PLIFF"), "spikeformers.neurons has no PLIFF: did you mean PLIF"),
        (lambda: tiny(depth="2"), "depth must be int, not '2'"),
        (lambda: tiny(depth=2.0), "depth must be int, not 2.0"),
        (lambda: tiny(depth=True), "depth must be int, not True"),
        (lambda: tiny(qkv_bias=1), "qkv_bias must be bool, not 1"),
        (lambda: tiny(drop_path="0.1"), "drop_path must be float, not '0.1'"),
        (lambda: tiny(drop_path=None), "drop_path must be float, not None"),
        (lambda: tiny(projection_std="x"), r"projection_std must be float \| None, not 'x'"),
        (lambda: tiny(strides=2), r"strides 2 is not a list: write \[2\]"),
        (lambda: tiny(strides="1,1"), r"strides '1,1' is not a list: write \[1,1\]"),
        (lambda: tiny(strides=(1, 2.5)), "strides must be int, not 2.5"),
        (lambda: tiny(num_heads=3), "dim 16 is not a multiple of num_heads 3"),
        (lambda: sf.create_model("spikformer", dim=8), "is a family, not a size: it needs depth, num_heads too"),
    ],
)
def test_errors(make, says):
    with pytest.raises(ValueError, match=says):
        make()


@pytest.mark.parametrize("sizes", [{"a": {}, SIZE: {}}, {"spikformer": {}}])
def test_a_taken_name(sizes):
    def another(**_):
        raise AssertionError

    with pytest.raises(ValueError, match=f"'{list(sizes)[-1]}' is registered already: choose another"):
        register(another, sizes)
    assert "another" not in _FAMILIES


def test_a_registered_family_of_ones_own(monkeypatch, capsys):
    monkeypatch.setattr("spikeformers.models.registry._FAMILIES", dict(_FAMILIES))

    def ours(*, dim: int, num_classes: int = 3):
        return sf.create_model(SIZE, **{**TINY, "dim": dim, "num_classes": num_classes})

    register(ours, {"ours_8": dict(dim=8)})
    model = sf.create_model("ours_8", num_classes=4)
    assert model.config == {"name": "ours_8", "dim": 8, "num_classes": 4}
    assert model(X).shape == (2, 4)
    assert sf.list_models("ours") == ["ours_8"]
    about = sf.models.describe_model("ours_8")
    assert (about["num_classes"], about["time_steps"], about["parameters"], about["top1"]) == (3, None, None, None)
    with pytest.raises(SystemExit):
        main(["list", "ours"])
    assert re.search(r"ours_8 +- +- +- x - x - +- ", capsys.readouterr().out)


def test_list_models():
    every = sf.list_models()
    assert len(every) == len(set(every)) >= 13
    assert sf.list_models("spikformer_[0-9]*_512") == ["spikformer_6_512", "spikformer_8_512", "spikformer_10_512"]
    assert sf.list_models("gesture") == [name for name in every if "gesture" in name] != []
    assert sf.list_models("gesture*") == []


def test_of_foreign_names_only_activations_of_torch_load_without_trust():
    for name in ("torch.nn:ReLU", "torch.nn.modules.activation:GELU"):
        assert issubclass(find_part("neuron", name, allow_foreign=False), torch.nn.Module)
    module = "torch.nn.modules.activation"
    for name in (
        f"{module}:F",
        f"{module}:Tensor",
        f"{module}:xavier_normal_",
        f"{module}:mine.py:Mine",
        "torch.nn:Linear",
    ):
        with pytest.raises(ValueError, match="is not a part of spikeformers: if you trust it"):
            find_part("neuron", name, allow_foreign=False)


def test_a_part_with_arguments_is_named_for_its_own_errors_alone():
    def staged(**settings):
        return sf.create_model("maxformer_4_384_cifar10", attention=wide, **settings)

    wide = {"part": "WideSSA", "value_ratio": 2}
    with pytest.raises(ValueError, match=r"^dims \(96, 192, 384\), depths \(1, 1\) and"):  # the builder's
        staged(depths=(1, 1))
    with pytest.raises(ValueError, match=r"^stride 4 of a pooled convolution is not 1 or 2"):  # a downsampling's
        staged(stem="MembraneSPEDS", downsampling_strides=(2, 2))
    with pytest.raises(
        ValueError, match=r'^attention \{"part": "WideSSA", "value_ratio": 2\}: dim 384 is not a multiple'
    ):
        staged(neuron={"part": "LIF", "tau": 3.0}, num_heads=7)
