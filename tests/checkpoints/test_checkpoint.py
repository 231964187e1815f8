"""Weights to disk and back, from every layout that can be met, and nothing run on the way."""

import argparse
import json
import logging
import os
import pathlib
import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from timm.utils import ModelEmaV3
from torch import nn

import spikeformers as sf
from spikeformers.checkpoints import save
from spikeformers.checkpoints.read import read_checkpoint
from spikeformers.deploy import Predictor
from spikeformers.deploy.formats import FORMATS
from spikeformers.layers.attention import SSA

TINY = dict(dim=16, depth=1, num_heads=2, image_size=8, time_steps=2)
X = torch.randn(2, 3, 8, 8)


class Foreign(SSA):
    pass


def tiny(**overrides):
    """Each has weights of its own."""
    return sf.create_model("spikformer_4_384_cifar10", **{**TINY, **overrides})


def prefixed(model, prefix):
    return {prefix + key: value for key, value in model.state_dict().items()}


def assert_same(model, other, but=()):
    ours, theirs = model.state_dict(), other.state_dict()
    assert list(ours) == list(theirs)
    assert {key for key in ours if not torch.equal(ours[key], theirs[key])} == set(but)


@pytest.fixture
def model(lively):
    return lively(tiny(), X)


@pytest.fixture
def own_part(tmp_path):
    (tmp_path / "own.py").write_text("from spikeformers.layers.attention import SSA\n\nclass Own(SSA): pass\n")
    return f"{tmp_path / 'own.py'}:Own"


@pytest.fixture
def untouched():
    """A fresh model to load into, which must come out as it went in."""
    fresh = tiny()
    before = {key: value.clone() for key, value in fresh.state_dict().items()}
    yield fresh
    assert all(torch.equal(value, before[key]) for key, value in fresh.state_dict().items())


@pytest.mark.parametrize("target", ["run", "run/model.safetensors"])
def test_round_trip(tmp_path, lively, target):
    parts = dict(neuron={"part": "PLIF", "init_tau": 3.0, "surrogate": "ATan"}, shortcut="MembraneShortcut")
    model = lively(tiny(**parts, num_classes=7), X)
    path = sf.save_pretrained(model, tmp_path / target, classes=[*"abcdefg"])
    for place in {path, tmp_path / target}:
        again = sf.from_pretrained(place)
        assert not again.training
        assert again.config == model.config
        assert_same(again, model)
        assert torch.equal(again(X), model(X))
    assert read_checkpoint(path).settings["classes"] == [*"abcdefg"]
    beside = {"README.md", "config.json"} if target == "run" else set()
    assert {file.name for file in path.parent.iterdir()} == {path.name, *beside}


def test_modules_that_share_weights_are_saved_and_loaded(tmp_path, lively):
    shared = tiny(depth=2)
    shared.blocks[1] = shared.blocks[0]
    lively(shared, X)
    path = sf.save_pretrained(shared, tmp_path / "shared")
    assert_same(shared, sf.from_pretrained(path))
    again = tiny(depth=2)
    again.blocks[1] = again.blocks[0]
    assert_same(shared, sf.load_checkpoint(again, path))


def test_a_saved_model_without_its_head(tmp_path, model, caplog):
    features = sf.from_pretrained(sf.save_pretrained(model, tmp_path), num_classes=0)
    assert torch.equal(features(X), model.forward_head(model.forward_features(X), pre_logits=True))
    assert "has a head: it is left out, for 0 classes" in caplog.text
    again = sf.from_pretrained(sf.save_pretrained(features, tmp_path), num_classes=3)
    assert again(X).shape == (2, 3) and "has no classes: a new head for 3" in caplog.text
    assert_same(again.blocks, model.blocks)


def test_a_number_of_steps_that_was_set_is_saved(tmp_path, model):
    model.time_steps = 3
    assert model.config["time_steps"] == 3
    sf.save_pretrained(model, tmp_path)
    assert sf.from_pretrained(tmp_path).forward_steps(X).shape[0] == 3
    with pytest.raises(ValueError, match=r"time_steps 0 is below 1: give 1 or more steps"):
        model.time_steps = 0


def test_overrides_of_a_saved_model(tmp_path, model):
    sf.save_pretrained(model, tmp_path)
    assert sf.from_pretrained(tmp_path, time_steps=5).forward_steps(X).shape[0] == 5
    assert sf.create_model("spikformer_4_384_cifar10", pretrained=str(tmp_path), **TINY)(X).shape == (2, 10)


SETTINGS = argparse.Namespace(
    lr=np.float64(1e-3), epochs=np.int64(3), to=pathlib.PurePosixPath("a"), at=pathlib.Path("b")
)
LAYOUTS = {
    "plain.pth": lambda m: m.state_dict(),
    "lightning.ckpt": lambda m: {"state_dict": prefixed(m, "model."), "epoch": 3, "optimizer_states": [{"state": {}}]},
    "parallel.pth.tar": lambda m: {"state_dict": prefixed(m, "module.")},
    "compiled.pt": lambda m: {"model": prefixed(m, "_orig_mod.")},
    "parallel_in_lightning.pth": lambda m: {"state_dict": prefixed(m, "model.module.")},
    "masked_autoencoder.pth": lambda m: {"model": m.state_dict(), "args": SETTINGS, "scaler": {"scale": 2.0}},
    "timm.pth": lambda m: {"state_dict": m.state_dict(), "metric": np.float32(70.2), "dtype": np.dtype("f8"), 3: "x"},
    "averaged.ckpt": lambda m: {"state_dict": {**prefixed(tiny(), "model."), **prefixed(m, "ema.module.")}},
    "no_counts.pth": lambda m: {k: v for k, v in m.state_dict().items() if not k.endswith("num_batches_tracked")},
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts(tmp_path, model, name):
    torch.save(LAYOUTS[name](model), tmp_path / name)
    fresh = tiny()
    assert sf.load_checkpoint(fresh, tmp_path / name) is fresh
    assert_same(fresh, model, but={k for k in model.state_dict() if "tracked" in k} if name == "no_counts.pth" else ())


def test_the_old_zipless_format(tmp_path, model):
    torch.save(model.state_dict(), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert_same(sf.load_checkpoint(tiny(), tmp_path / "old.pth"), model)


@pytest.mark.parametrize("module", ["pathlib", "pathlib._local"])  # the latter in Python 3.13
@pytest.mark.parametrize("name", ["PosixPath", "WindowsPath", "PureWindowsPath"])
def test_paths_of_another_system(tmp_path, model, monkeypatch, module, name):
    kind = type(name, (), {"__module__": module, "__reduce__": lambda self: (kind, ("a", "b"))})
    with monkeypatch.context() as elsewhere:
        elsewhere.setitem(sys.modules, module, SimpleNamespace(**{name: kind}))
        torch.save({"model": model.state_dict(), "out": kind()}, str(tmp_path / "elsewhere.pth"))
    assert f"{module}\n{name}\n".encode() in (tmp_path / "elsewhere.pth").read_bytes()
    assert_same(sf.load_checkpoint(tiny(), tmp_path / "elsewhere.pth"), model)


def test_a_plain_safetensors_file(tmp_path, model):
    save_file(model.state_dict(), tmp_path / "plain.safetensors")
    assert_same(sf.load_checkpoint(tiny(), tmp_path / "plain.safetensors"), model)
    with pytest.raises(ValueError, match="does not say which model it holds"):
        sf.from_pretrained(tmp_path / "plain.safetensors")


@pytest.mark.parametrize(
    ("other", "new", "says"),
    [
        (dict(num_classes=4), {"head.linear.weight", "head.linear.bias"}, "has 10 classes: a new head for 4"),
        (dict(in_channels=2), {"stem.stages.0.proj.conv.weight"}, "takes 3 channels: a new first convolution for 2"),
    ],
)
def test_new_ends(tmp_path, model, caplog, other, new, says):
    path = sf.save_pretrained(model, tmp_path)
    fresh = tiny(**other)
    mine = {key: fresh.state_dict()[key].clone() for key in new}
    with caplog.at_level(logging.WARNING, logger="spikeformers"):
        sf.load_checkpoint(fresh, path)
    assert [record.getMessage() for record in caplog.records] == [f"{path} {says}"]
    assert all(torch.equal(fresh.state_dict()[key], value) for key, value in mine.items())
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in fresh.state_dict().items() if k not in new)


V2 = dict(dims=(8, 16, 32, 48), depths=(1, 1), num_heads=2, image_size=64)


def test_new_ends_of_two_heads(tmp_path, caplog):
    path = sf.save_pretrained(sf.create_model("sdt_v2_15m_kd", **V2, num_classes=10), tmp_path)
    fresh = sf.create_model("sdt_v2_15m_kd", **V2, num_classes=4, in_channels=2)
    with caplog.at_level(logging.WARNING, logger="spikeformers"):
        sf.load_checkpoint(fresh, path)
    head = f"{path} has 10 classes: a new head for 4"
    stem = f"{path} takes 3 channels: a new first convolution for 2"
    assert [record.getMessage() for record in caplog.records] == [head, head, stem]


def test_nothing_is_said_of_new_ends_where_the_rest_does_not_load(tmp_path, untouched, caplog):
    path = sf.save_pretrained(tiny(num_classes=4, depth=2), tmp_path)
    with pytest.raises(ValueError, match="does not fit"), caplog.at_level(logging.WARNING, logger="spikeformers"):
        sf.load_checkpoint(untouched, path)
    assert caplog.records == []


def test_another_image_size(tmp_path, lively):
    numbers = dict(dims=(32, 32, 64), num_heads=(1, 1, 2), depths=(1, 1, 1), time_steps=2)
    x = torch.randn(2, 3, 16, 16)
    model = lively(sf.create_model("spikingresformer_ti_cifar10", **numbers, image_size=16), x)
    larger = sf.create_model("spikingresformer_ti_cifar10", **numbers, image_size=32)
    assert_same(sf.load_checkpoint(larger, sf.save_pretrained(model, tmp_path)), model)
    assert torch.equal(larger.eval()(x), model(x))  # nothing is kept of the size a model was made for
    assert larger(torch.randn(2, 3, 32, 32)).isfinite().all()


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (dict(depth=2), r"42 not the model's \(blocks.1.attn.core.\w.conv.\w+, .* and 32 more\)"),
        (None, r"36 missing \(blocks.0.attn.core.q.conv.weight, .* and 26 more\)"),
        (dict(dim=32), r"of another shape \(.*stem.stages.0.proj.conv.weight \[4, 3, 3, 3\] for \[2, 3, 3, 3\]"),
        (dict(qkv_bias=False), r"3 missing \(blocks.0.attn.core.q.conv.bias, [\w.]+, [\w.]+.v.conv.bias\)\."),
        (dict(num_classes=3, dim=32), "of another shape"),
    ],
)
def test_a_wrong_checkpoint(tmp_path, untouched, other, says):
    model = tiny(**(other or {}))
    if other is None:  # a file of a model that was cut
        model.blocks = nn.Sequential()
    path = sf.save_pretrained(model, tmp_path)
    with pytest.raises(ValueError, match=says) as error:
        sf.load_checkpoint(untouched, path)
    assert "does not fit spikformer_4_384_cifar10" in str(error.value)
    assert "It holds a spikformer_4_384_cifar10" in str(error.value)
    assert "head.conv" not in str(error.value)
    assert "\n" not in str(error.value)


class Hostile:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("load", [sf.load_checkpoint, lambda model, path: sf.from_pretrained(path)])
def test_a_hostile_file_runs_nothing(tmp_path, untouched, load, zipped):
    content = {"state_dict": untouched.state_dict(), "args": Hostile(tmp_path / "was_run")}
    torch.save(content, tmp_path / "hostile.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match=r"hostile.pth is refused: it asks to build \w+.system, ") as error:
        load(untouched, tmp_path / "hostile.pth")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "was_run").exists()


@pytest.mark.parametrize("share", [0, 1, 0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.999])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".old.pth"])
def test_a_damaged_file(tmp_path, untouched, suffix, share):
    path = tmp_path / f"cut{suffix}"
    if suffix == ".safetensors":
        sf.save_pretrained(tiny(), path)
    else:
        torch.save(untouched.state_dict(), path, _use_new_zipfile_serialization=suffix == ".pth")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))] if share < 1 else b"PK\3\4" + bytes(range(256)) * 40)
    with pytest.raises(ValueError, match=r"is not a readable .*(fetch it again|may be damaged)") as error:
        sf.load_checkpoint(untouched, path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["<!DOCTYPE html>\n<html></html>", "version https://git-lfs.github.com/spec/v1", "a"])
@pytest.mark.parametrize("name", ["page.pth", "page.safetensors"])
def test_text_under_another_name(tmp_path, untouched, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match="is not a readable"):
        sf.load_checkpoint(untouched, tmp_path / name)


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors", "a.json"])
@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b'{"config": {}}', "JSON"),
        (b"[1, " + "\u00e9".encode() * 5000, "JSON"),
        (b"<!DOCTYPE html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1", "a Git LFS pointer, not the file"),
        (b"epoch,loss\n1,2.3\n", "a text"),
        ("PNG", "a picture, PNG"),
        ("JPEG", "a picture, JPEG"),
    ],
)
def test_what_is_no_checkpoint_is_called_what_it_is(tmp_path, untouched, content, what, name):
    if isinstance(content, str):
        Image.new("RGB", (8, 8)).save(tmp_path / name, format=content)
    else:
        (tmp_path / name).write_bytes(content)
    says = f"{name} is not a readable checkpoint: it is {what}; give a weight file or a run folder"
    with pytest.raises(ValueError, match=says) as error:
        sf.load_checkpoint(untouched, tmp_path / name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", sorted({ending for one in FORMATS.values() for ending in one.endings} - {".bin"}))
def test_an_exported_file_is_no_checkpoint(tmp_path, untouched, name):
    (tmp_path / f"model{name}").write_bytes(b"\x00\x01")
    says = f"model{name} is not a readable checkpoint: it is an exported model; give a weight file or a run folder"
    with pytest.raises(ValueError, match=says):
        sf.load_checkpoint(untouched, tmp_path / f"model{name}")


WRAPPERS = {
    "parallel": nn.DataParallel,
    "compiled": torch.compile,
    "parallel_compiled": lambda model: nn.DataParallel(torch.compile(model)),
    "averaged": ModelEmaV3,
    "compiled_by_parts": lambda model: sf.compile(model, backend="eager"),
}


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_a_wrapped_model_is_saved_by_what_is_inside(tmp_path, model, wrap):
    sf.save_pretrained(wrap(model), tmp_path / "saved")
    again = sf.from_pretrained(tmp_path / "saved")
    assert_same(again, model)
    assert sorted(load_file(tmp_path / "saved" / "weights.safetensors")) == sorted(model.state_dict())


def test_what_is_no_model_is_not_saved(tmp_path):
    for write in (lambda m: sf.save_pretrained(m, tmp_path / "saved"), lambda m: sf.push_to_hub(m, "owner/name")):
        with pytest.raises(ValueError, match="a Linear is not a spikeformers model: give a SpikingTransformer"):
            write(nn.Linear(1, 1))
    assert not (tmp_path / "saved").exists()


def test_as_many_class_names_as_classes_are_saved(tmp_path, model):
    for write in (lambda: sf.save_pretrained(model, tmp_path / "run", classes=["a", "b"]),
                 lambda: sf.push_to_hub(model, "owner/name", classes=["a", "b"])):  # fmt: skip
        with pytest.raises(ValueError, match="classes names 2, but the model has 10: name each class once"):
            write()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("key", "value"), [("head.linear.bias", "nan"), ("blocks.0.mlp.core.fc2.norm.running_var", "inf")]
)
def test_weights_that_are_not_finite(tmp_path, model, untouched, key, value):
    weights = {**model.state_dict()}
    weights[key] = torch.full_like(weights[key], float(value))
    torch.save(weights, tmp_path / "odd.pth")
    with pytest.raises(ValueError, match=rf"odd.pth is damaged: {re.escape(key)} holds numbers that are not finite"):
        sf.load_checkpoint(untouched, tmp_path / "odd.pth")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"epoch": 3, "args": "x"}, "holds no weights: its entries are epoch, args"),
        ({}, "holds no weights: its entries are none"),
        ({"state_dict": {}, "epoch": 1}, "holds no weights"),
        ({0: torch.ones(1), "state": {1: 2}}, "holds no weights: its entries are 0, state"),
        ([torch.ones(2)], "holds a list, not a dict of weights"),
        (torch.ones(2), "holds a Tensor, not a dict"),
    ],
)
def test_a_file_without_weights(tmp_path, untouched, content, says):
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=says):
        sf.load_checkpoint(untouched, tmp_path / "other.pth")


def test_nothing_there(tmp_path, untouched):
    with pytest.raises(FileNotFoundError, match=r"there is no checkpoint .*nowhere.pth: give a run folder or"):
        sf.load_checkpoint(untouched, tmp_path / "nowhere.pth")
    with pytest.raises(FileNotFoundError, match=r"is a folder without weights.safetensors"):
        sf.load_checkpoint(untouched, tmp_path)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"config": []}, "config must be a mapping"),
        ({"config": 3}, "config must be a mapping"),
        ({"preprocess": 3}, "preprocess must be a mapping"),
        ({"preprocess": {"image_size": 1e6}}, "preprocess.image_size must be a number of ordinary size"),
        ({"preprocess": {"mean": [0.5, -1e6, 0.5]}}, "preprocess.mean must be a number of ordinary size"),
        ({"preprocess": {"window_events": [1e12, 1]}}, "preprocess.window_events must be a number of ordinary size"),
        ({"recipe": []}, "recipe must be a mapping"),
        ({"recipe": {"data": 3}}, "recipe.data must be a mapping"),
        ({"recipe": {"data": {"workers": "two"}}}, "recipe.data.workers must be another kind of value"),
        ({"classes": "ab"}, "classes must be a list of names"),
        ({"classes": [1]}, "classes must be a list of names"),
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_named(tmp_path, model, settings, says):
    path = tmp_path / "odd.safetensors"
    save_file(model.state_dict(), path, {"spikeformers": json.dumps({"config": model.config, **settings})})
    with pytest.raises(ValueError, match=rf"odd\.safetensors is damaged: its setting {says}, not "):
        sf.from_pretrained(path)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ("{", "is not a readable safetensors file"),
        ("[]", "does not say which model it holds"),
        ('{"config": {"dim": 16}}', "does not say which model it holds"),
        ('{"config": {"name": ["x"]}}', "does not say which model it holds"),
    ],
)
def test_settings_without_a_model(tmp_path, settings, says):
    path = tmp_path / "odd.safetensors"
    save_file({"w": torch.ones(1)}, path, {"spikeformers": settings})
    with pytest.raises(ValueError, match=rf"odd\.safetensors {says}"):
        sf.from_pretrained(path)


def test_windows_of_millions_of_events_can_be_saved(tmp_path, model):
    """A large camera sends as many in a fraction of a second."""
    preprocess = {"window_events": [5_000_000, 2_500_000]}
    path = sf.save_pretrained(model, tmp_path, preprocess=preprocess)
    assert read_checkpoint(path).settings["preprocess"] == preprocess


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"dim": 2**63}, r"dim 9223372036854775808 is not in"),
        ({"depth": 2**31}, r"depth 2147483648 is not in"),
        ({"num_heads": 2**63}, r"num_heads 9223372036854775808 is not in"),
        ({"time_steps": 2**63}, r"time_steps 9223372036854775808 is not in"),
        ({"image_size": 2**63}, r"image_size 9223372036854775808 is not in"),
        ({"strides": [2**63] * 4}, r"strides 9223372036854775808 is not in"),
        ({"mlp_ratio": 1e300}, r"mlp_ratio 1e\+300 is not in"),
        ({"projection_std": 0}, r"projection_std 0 is not in"),
        ({"neuron": {"part": "LIF", "tau": 10**400}}, r"is not a finite number"),
        ({"num_classes": 2}, r"odd.safetensors does not fit spikformer\w*: 2 of another shape"),
        ({"num_classes": 0}, r"odd.safetensors does not fit spikformer\w*: 2 not the model's"),
        ({"in_channels": 1}, r"odd.safetensors does not fit spikformer\w*: 1 of another shape"),
    ],
    ids=str,
)
def test_a_config_that_cannot_be_or_is_not_that_of_the_weights(tmp_path, model, changed, says):
    path = tmp_path / "odd.safetensors"
    save_file(model.state_dict(), path, {"spikeformers": json.dumps({"config": {**model.config, **changed}})})
    with pytest.raises(ValueError, match=says):
        sf.from_pretrained(path)


def test_a_null_is_nothing_said(tmp_path, model):
    path = tmp_path / "odd.safetensors"
    told = {"config": model.config, "recipe": None, "preprocess": None, "classes": None}
    save_file(model.state_dict(), path, {"spikeformers": json.dumps(told)})
    assert [*read_checkpoint(path).settings] == ["config"]
    with pytest.raises(ValueError, match="has no preprocessing settings"):
        Predictor(path)
    save_file(model.state_dict(), path, {"spikeformers": json.dumps({**told, "recipe": {"data": None}})})
    with pytest.raises(ValueError, match=r"recipe.data must be a mapping, not None"):
        read_checkpoint(path)


def test_a_foreign_part_is_refused_unless_passed_in(tmp_path, own_part):
    model = tiny(attention=own_part)
    path = sf.save_pretrained(model, tmp_path)
    own_file = own_part.rpartition(":")[0]
    pathlib.Path(own_file).write_text("raise SystemExit('this must not run')")
    with pytest.raises(ValueError, match=r"attention '.*own.py:Own' is not a part of .*pass it as attention="):
        sf.from_pretrained(path)
    again = sf.from_pretrained(path, attention=Foreign)
    assert isinstance(again.blocks[0].attn.core, Foreign)
    assert_same(again, model)
    assert_same(sf.from_pretrained(path, attention=own_part), model)


@pytest.mark.parametrize(
    "config",
    [
        {"name": "os:system"},
        {"name": "spikformer_8_512", "neuron": "os:system"},
        {"name": "spikformer_8_512", "neuron": {"part": "os:system"}},
        {"name": "spikformer_8_512", "neuron": {"part": "LIF", "surrogate": {"part": "os:system"}}},
        {"name": "spikformer_8_512", "neuron": {"part": "SpikingJellyNeuron", "node": "os:system"}},
    ],
    ids=json.dumps,
)
def test_a_hostile_config_loads_nothing(tmp_path, config, monkeypatch):
    path = tmp_path / "hostile.safetensors"
    save_file({"w": torch.ones(1)}, path, {"spikeformers": json.dumps({"config": config})})
    monkeypatch.setattr("importlib.import_module", lambda name, found=__import__("importlib").import_module: (
        pytest.fail("it was loaded") if name == "os" else found(name)
    ))  # fmt: skip
    with pytest.raises(ValueError, match=r"'os:system' is not .* of spikeformers"):
        sf.from_pretrained(path)


def test_a_failed_save_leaves_the_earlier_file(tmp_path, model, monkeypatch):
    path = sf.save_pretrained(model, tmp_path)
    earlier = path.read_bytes()

    def full_disk(weights, file, metadata):
        pathlib.Path(file).write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(save, "save_file", full_disk)
    with pytest.raises(OSError, match="no space left"):
        sf.save_pretrained(tiny(), path)
    assert path.read_bytes() == earlier
    with pytest.raises(OSError, match="no space left"):
        sf.save_pretrained(tiny(), tmp_path / "first")
    assert not (tmp_path / "first").exists()
    assert not list(tmp_path.glob("*.unfinished"))
