"""Which model a file holds: released keys at published sizes, other numbers, and what no key or shape tells."""

import argparse
import json
import re
from pathlib import Path

import pytest
import torch

import spikeformers as sf
from spikeformers.checkpoints.identify import identify
from spikeformers.checkpoints.keys import translate
from spikeformers.checkpoints.layout import layout
from spikeformers.checkpoints.read import Checkpoint, read_checkpoint
from spikeformers.models import list_models, register
from spikeformers.models.building import resolve
from spikeformers.models.registry import _FAMILIES, find_family

CASES = {}  # released keys and shapes of small models, one file a family
for file in sorted((Path(__file__).parent / "released").glob("*.json")):
    CASES |= json.loads(file.read_text())

TINY = dict(dim=16, depth=1, num_heads=2, image_size=8, time_steps=2)


def meta(shapes):
    return {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}


def look(weights, file="checkpoint.pth", **training):
    return identify(Checkpoint(Path(file), weights, training=training))


def released(case, size, blocks=(), **overrides):
    """The released keys of a case at the shapes of a registered size; `blocks` are repeated as last of their stage."""
    shapes = dict(CASES[case]["state_dict"])
    for last, index in blocks:
        model = f"{last.rpartition('.')[0]}.{index}."
        shapes |= {key.replace(f"{last}.", model): s for key, s in shapes.items() if key.startswith(f"{last}.")}
    family, config = find_family(size), resolve(size, overrides)[2]
    wanted, weights = layout(config) or {}, {}
    for key, shape in shapes.items():
        ours = translate(meta({key: shape}), family, config, wanted)
        weights[key] = tuple(wanted[next(iter(ours))].shape[: len(shape)]) if ours else shape  # else nothing reads it
    found = translate(meta(weights), family, config, wanted)
    assert found.keys() == {key for key in wanted if not key.endswith("num_batches_tracked")}  # the lists have none
    return meta(weights)


def depth(name, first, last):
    return [(f"{name}.{first}", i) for i in range(first + 1, last)]


HEADS = {"num_heads", "time_steps", "image_size"}
PUBLISHED = {  # how the file is spelt, and what no key or shape of it tells
    "spikformer_2_384_cifar10": (("spikformer_cifar_small",), {*HEADS, "stem"}),
    "spikformer_2_256_cifar10dvs": (("spikformer_dvs_small",), {*HEADS, "attention"}),
    "sdt_8_768": (("sdt_imagenet_small", depth("block", 1, 8)), {*HEADS, "attention"}),
    "sdt_v2_55m_kd": (("sdt_v2_small_kd_t4",), HEADS),
    "qsd_55m": (("qsd_small", [*depth("block3", 2, 6), *depth("block4", 0, 2)]), HEADS),
    "sdt_v3_19m": (("sdt_v3_base_small",), HEADS),
    "sdt_v3_171m_kd": (("sdt_v3_large_small_d4", depth("block3", 1, 12)), {*HEADS, "neuron", "head_neuron"}),
    "qkformer_10_384": (("qkformer_imagenet_small", depth("stage3", 1, 7)), {*HEADS, "shortcut", "head"}),
    "qkformer_4_384_cifar10": (("qkformer_cifar_small",), HEADS),
    "msqkformer_10_384": (("msqkformer_imagenet_small",), {*HEADS, "stem", "shortcut", "head"}),
    "spikingformer_2_384_cifar10": (("spikingformer_cifar_small",), {*HEADS, "stem"}),
    "spikingformer_2_256_cifar10dvs": (("spikingformer_dvs_small",), {*HEADS, "stem", "neuron"}),
    "spikingresformer_s": (("spikingresformer_imagenet_small",), {"time_steps", "image_size", "strides"}),
    "spikingresformer_gesture": (("spikingresformer_event_small_plif",), {"time_steps", "image_size"}),
    "maxformer_10_384": (("maxformer_imagenet_small",), HEADS),
    "msvit_10_384": (("msvit_imagenet_small", depth("stage3", 1, 7)), HEADS),
    "msvit_4_384_cifar100": (("msvit_cifar100_small",), HEADS),
    "swformer_8_512": (("swformer_imagenet_small", depth("block", 1, 8)), {"time_steps", "image_size"}),
    "swformer_2_256_cifar10dvs": (("swformer_event_small",), {"time_steps", "image_size", "attention"}),
    "sglformer_8_384": (("sglformer_imagenet_pool_late_small", depth("blocks", 1, 6)), {*HEADS, "strides"}),
    "sglformer_4_384_cifar10": (("sglformer_cifar_small",), {"num_heads"}),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_released_file_of_a_published_size(name):
    how, untold = PUBLISHED[name]
    best = look(released(how[0], name, *how[1:]))[0]
    size = resolve(name, {})[2]
    assert (best.name, best.overrides, best.fit.faults) == (name, {}, 0)
    assert best.call == f'create_model("{name}")'
    assert (best.family, best.num_classes, best.in_channels) == (
        find_family(name).builder.__name__, size["num_classes"], size["in_channels"]
    )  # fmt: skip
    assert best.heads == (2 if name.endswith("_kd") else 1)
    assert untold <= best.untold.keys()
    assert best.untold.items() <= size.items()
    assert not {"dim", "dims", "depth", "depths", "num_classes", "in_channels"} & best.untold.keys()


def test_every_family_is_recognised():
    """Those whose released keys we translate: SEW-ResNet's renames are for torchvision's ResNet, tested below."""
    translated = {name for name, family in _FAMILIES.items() if family.renames and not name.endswith("_mae")}
    assert {find_family(name).builder.__name__ for name in PUBLISHED} == translated - {"sew_resnet"}


def test_the_keys_of_a_resnet(monkeypatch):
    import torchvision

    monkeypatch.setattr(torch.nn.init, "kaiming_normal_", lambda *_, **__: None)  # on meta it loads torch's compiler
    with torch.device("meta"):
        weights = torchvision.models.resnet50().state_dict()
    best = look(weights)[0]
    assert (best.call, best.fit.faults) == ('create_model("sew_resnet50")', 0)
    assert "num_heads" not in best.untold


def test_heads_that_a_file_tells():
    best = look(released("spikingresformer_imagenet_small", "spikingresformer_s", num_heads=(1, 8, 16)))[0]
    assert best.call == 'create_model("spikingresformer_s", num_heads=(1, 8, 16))'


# ---- other numbers than a registered size


@pytest.mark.parametrize(
    ("case", "size", "blocks", "overrides", "call"),
    [
        ("spikformer_imagenet_small", "spikformer_8_512", depth("block", 1, 8), dict(num_classes=37),
         'create_model("spikformer_8_512", num_classes=37)'),
        ("sdt_cifar_small", "sdt_2_512_cifar10", [], dict(in_channels=1),
         'create_model("sdt_2_512_cifar10", in_channels=1)'),
        ("spikformer_cifar_small", "spikformer_2_384_cifar10", depth("block", 1, 3), dict(depth=3),
         'create_model("spikformer_2_384_cifar10", depth=3)'),
        ("sdt_v3_large_small_d8_nokd", "sdt_v3_171m", depth("block3", 1, 12), dict(dims=(192, 384, 768)),
         'create_model("sdt_v3_171m", dims=(192, 384, 768))'),
        ("sdt_cifar_small", "sdt_2_256_cifar10", [], dict(mlp_ratio=2.5),
         'create_model("sdt_2_256_cifar10", mlp_ratio=2.5)'),
        ("sglformer_event_small", "sglformer_3_256_gesture", [], dict(time_steps=10),
         'create_model("sglformer_3_256_gesture", time_steps=10)'),
        ("sdt_cifar_small_plif", "sdt_2_256_cifar10", [], dict(neuron="PLIF"),
         'create_model("sdt_2_256_cifar10", neuron="PLIF")'),
    ],
)  # fmt: skip
def test_other_numbers(case, size, blocks, overrides, call):
    best = look(released(case, size, blocks, **overrides))[0]
    assert (best.call, best.fit.faults) == (call, 0)
    with torch.device("meta"):
        model = eval(call.replace("create_model", "sf.create_model"))
    assert {key: model.config[key] for key in best.overrides} == best.overrides


def test_heads_that_agree_with_no_width_must_be_given():
    best = look(released("spikformer_cifar_small", "spikformer_2_384_cifar10", dim=64, num_heads=4))[0]
    assert best.call == 'create_model("spikformer_2_384_cifar10", dim=64, num_heads=...)'
    assert best.untold["num_heads"] is None


# ---- what keys and shapes leave open: the file's name, its training


def test_the_stem_of_cml_is_not_told_but_by_the_name():
    weights = released("spikingformer_imagenet_small", "spikingformer_8_512", depth("block", 1, 8))
    first, second = look(weights)
    assert (first.name, first.untold["stem"]) == ("spikingformer_8_512", "SPS")
    assert (second.name, second.untold["stem"]) == ("spikingformer_cml_8_512", "CMLSPS")
    assert [c.name for c in look(weights, "Spikingformer-CML-8-512.pth.tar")] == [second.name, first.name]


@pytest.mark.parametrize(
    ("file", "name"),
    [("83M_1x4.pth", "sdt_v3_83m_kd"), ("83M_1x8.pth", "sdt_v3_83m_d8_kd"), ("x.pth", "sdt_v3_83m_kd")],
)
def test_levels_by_the_name(file, name):
    weights = released("sdt_v3_large_small_d4", "sdt_v3_83m_kd", depth("block3", 1, 12))
    candidates = look(weights, file)
    assert candidates[0].name == name
    assert {c.name for c in candidates} == {"sdt_v3_83m_kd", "sdt_v3_83m_d8_kd"}
    assert any("1x8" in reason for reason in candidates[0].reasons) == (file == "83M_1x8.pth")


def test_what_the_training_left_in_the_file(tmp_path):
    weights = released("sdt_v2_small_kd_t4", "sdt_v2_55m_kd")
    training = argparse.Namespace(model="metaspikformer_8_512", lr=0.1, T=4)
    torch.save({"model": full(weights), "args": training}, tmp_path / "55M_kd.pth")
    best = identify(read_checkpoint(tmp_path / "55M_kd.pth"))[0]
    assert best.call == 'create_model("sdt_v2_55m_kd", time_steps=4)'
    assert "its training had time_steps=4" in best.reasons
    assert "time_steps" not in best.untold


def full(weights):
    """With storage of one number a tensor, so that files of large models are small."""
    return {key: torch.zeros(()).expand(value.shape) for key, value in weights.items()}


def test_words_of_the_training_that_make_no_sense():
    best = look(released("sdt_cifar_small", "sdt_2_256_cifar10"), T="4", time_steps=0, num_heads=True, model=None)[0]
    assert (best.overrides, best.reasons) == ({}, [])


# ---- files of ours


@pytest.mark.parametrize("name", ["weights.safetensors", "last.ckpt"])
def test_a_file_of_ours_says_so(tmp_path, name):
    model = sf.create_model("spikformer_4_384_cifar10", **TINY, neuron="PLIF")
    if name.endswith(".ckpt"):
        torch.save({"state_dict": model.state_dict(), "spikeformers": {"config": model.config}}, tmp_path / name)
    else:
        sf.save_pretrained(model, tmp_path / name)
    (only,) = identify(read_checkpoint(tmp_path / name))
    assert (only.name, only.fit.faults, only.untold) == ("spikformer_4_384_cifar10", 0, {})
    assert only.overrides == {**TINY, "neuron": "PLIF"}
    assert only.reasons == ["its config says so"]
    assert eval(only.call.replace("create_model", "sf.create_model")).config == model.config


def test_a_file_of_ours_with_parts_of_somebody_elses_runs_none(tmp_path):
    (tmp_path / "own.py").write_text("raise SystemExit('this must not run')")
    config = {"name": "spikformer_8_512", "attention": f"{tmp_path / 'own.py'}:Own"}
    checkpoint = Checkpoint(Path("x.ckpt"), meta({"stem.w": [1]}), {"config": config})
    (only,) = identify(checkpoint)
    assert only.name == "spikformer_8_512"
    assert "is not a part of spikeformers" in only.reasons[0]


@pytest.mark.parametrize("name", ["sew_resnet152", "spikingresformer_ti_cifar100", "spikformer_v2_8_384"])
def test_our_keys_alone(name):
    with torch.device("meta"):
        weights = sf.create_model(name).state_dict()
    best = look(weights)[0]
    assert (best.call, best.fit.faults) == (f'create_model("{name}")', 0)


def test_a_family_of_ones_own(monkeypatch):
    monkeypatch.setattr("spikeformers.models.registry._FAMILIES", {})

    def ours(*, dim: int, extra: int = 2):
        model = sf.models.spikformer.spikformer(**{**TINY, "dim": dim, "strides": (2,)})
        model.extra = torch.nn.Linear(extra, 5)
        return model

    register(ours, {"ours_8": dict(dim=8)})
    with torch.device("meta"):
        weights = sf.create_model("ours_8", extra=3).state_dict()
    (only,) = look(weights)
    assert (only.call, only.num_classes) == ('create_model("ours_8", extra=3)', None)
    assert list_models() == ["ours_8"]


# ---- files that hold something else, and the errors of loading


def masked_autoencoder():
    weights = meta(CASES["sdt_v3_large_small_d8_nokd"]["state_dict"])
    weights = {key: value for key, value in weights.items() if not re.search(r"^head|layer_scale", key)}
    more = {
        "pos_embed": (1, 64, 196),
        "mask_token": (1, 1, 256),
        "norm.weight": (64,),
        "decoder_embed.weight": (256, 64),
    }
    return {**weights, **meta(more)}


def test_a_masked_autoencoder(tmp_path):
    best = look(masked_autoencoder())[0]
    assert best.call == 'create_model("sdt_v3_83m", dims=(16, 32, 64), depth=2)'
    assert (best.heads, best.num_classes) == (0, None)
    assert best.refusal.startswith("a masked autoencoder's pre-training, without head and layer scales")
    assert "4 not the model's (pos_embed, mask_token" in str(best.fit)
    torch.save({"model": full(masked_autoencoder())}, tmp_path / "mae.pth")
    with torch.device("meta"):
        model, other = sf.create_model("sdt_v3_83m", depth=2), sf.create_model("sdt_2_256_cifar10")
    with pytest.raises(ValueError, match=r"mae.pth is a masked autoencoder's .*: give a file that was fine-tuned"):
        sf.load_checkpoint(model, tmp_path / "mae.pth")
    with pytest.raises(ValueError, match=r"does not fit sdt_2_256_cifar10: .* It looks like a masked autoencoder's"):
        sf.load_checkpoint(other, tmp_path / "mae.pth")


@pytest.mark.parametrize(
    ("into", "case", "size", "says"),
    [
        ("sdt_2_512_cifar10", "spikformer_cifar_small", "spikformer_2_384_cifar10",
         'create_model("spikformer_2_384_cifar10")'),
        ("sdt_2_256_cifar10", "sdt_cifar_small", "sdt_2_512_cifar10", 'create_model("sdt_2_512_cifar10")'),
        ("sdt_v2_15m", "sdt_v2_small_kd_t4", "sdt_v2_15m_kd", 'create_model("sdt_v2_15m_kd")'),
        ("sdt_v2_15m_kd", "sdt_v2_small_t1", "sdt_v2_15m", 'create_model("sdt_v2_15m")'),
    ],
)  # fmt: skip
def test_the_error_of_loading_names_what_it_is(tmp_path, into, case, size, says):
    torch.save({"state_dict": full(released(case, size))}, tmp_path / "other.pth")
    with torch.device("meta"):
        model = sf.create_model(into)
    with pytest.raises(ValueError, match=rf"does not fit {into}: \d+ ") as error:
        sf.load_checkpoint(model, tmp_path / "other.pth")
    assert str(error.value).endswith(f". It looks like {says}")
    assert "\n" not in str(error.value)


def test_the_error_of_a_file_that_lacks_a_key_names_no_other_model(tmp_path):
    weights = released("spikformer_cifar_small", "spikformer_2_384_cifar10")
    del weights["head.bias"]
    torch.save(full(weights), tmp_path / "short.pth")
    with torch.device("meta"):
        model = sf.create_model("spikformer_2_384_cifar10")
    with pytest.raises(ValueError, match=r"1 missing \(head.linear.bias\)$"):
        sf.load_checkpoint(model, tmp_path / "short.pth")


@pytest.mark.parametrize("weights", [{"w": [3]}, {"fc1.weight": [8, 8], "fc1.bias": [8], "head.weight": [10, 8]}])
def test_a_file_like_nothing_here(weights):
    with pytest.raises(ValueError, match=r"checkpoint.pth resembles no model of spikeformers: \d keys, \w+"):
        look(meta(weights))


def test_dead_branches_of_the_83m_file_are_nothing():
    weights = released("sdt_v3_large_small_d4", "sdt_v3_83m_kd", depth("block3", 1, 12))
    dead = {f"block3.{i}.rep_conv.conv1.{k}": (512,) for i in range(12) for k in ("0.weight", "1.weight")}
    best = look({**weights, **meta(dead)})[0]
    assert (best.name, best.fit.faults) == ("sdt_v3_83m_kd", 0)


@pytest.mark.parametrize(
    ("size", "numbers", "depths"),
    [
        ("sdt_v2_15m", dict(dims=(8, 16, 32, 48)), (4, 2)),
        ("sdt_v2_15m", dict(dims=(8, 16, 32, 48)), (2, 5)),
        ("sdt_v3_5m", dict(dims=(8, 16, 32, 48)), (9, 1)),
        ("qkformer_10_384", dict(dims=(16, 24, 32), num_heads=2), (2, 3, 1)),
        ("spikingresformer_ti", dict(dims=(64, 64, 128), num_heads=(1, 1, 2)), (2, 1, 1)),
        ("sew_resnet18", dict(dims=(16, 24, 32, 40)), (3, 1, 1, 2)),
    ],
)
def test_blocks_that_stages_have_more_or_less_of(size, numbers, depths):
    with torch.device("meta"):
        weights = sf.create_model(size, **numbers, depths=depths).state_dict()
    candidates = look(weights)
    assert [candidate.fit.faults for candidate in candidates] == [0] * len(candidates)
    assert resolve(candidates[0].name, candidates[0].overrides)[2]["depths"] == list(depths)
