"""Files of weights with keys dropped, renamed, reshaped and retyped, settings changed, bytes damaged, and pickles that
would run something, given to `predict` and `identify`.
"""

import json
import os
import pickle

import pytest
import torch
from fuzz_inputs import YAML, damaged, names
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file, save_file

import spikeformers as sf
from spikeformers.checkpoints.read import METADATA, read_checkpoint
from spikeformers.data import eval_transform

DTYPES = (
    torch.float16,
    torch.bfloat16,
    torch.float64,
    torch.int8,
    torch.int64,
    torch.uint8,
    torch.bool,
    torch.complex64,
)


@pytest.fixture(scope="module")
def weights(knows_pictures):
    return load_file(knows_pictures / "weights.safetensors")


@pytest.fixture(scope="module")
def told(knows_pictures):
    return read_checkpoint(knows_pictures).settings


@st.composite
def other_weights(draw, weights):
    """Weights of which some are changed."""
    changed = dict(weights)
    for _ in range(draw(st.integers(0, 3))):
        if not changed:
            break
        key = draw(st.sampled_from(sorted(changed)))
        value = changed.pop(key)
        match draw(st.sampled_from(("drop", "rename", "prefix", "shape", "dtype", "empty", "nan", "other", "strange"))):
            case "rename":
                changed[draw(names())] = value
            case "prefix":
                changed[draw(st.sampled_from(("module.", "model.", "ema.module.", "_orig_mod.", "head."))) + key] = (
                    value
                )
            case "shape":
                changed[key] = draw(
                    st.sampled_from(
                        (
                            value[None],
                            value.flatten(),
                            value.repeat(2, *[1] * max(0, value.ndim - 1)) if value.ndim else value[None],
                            value.mT.contiguous() if value.ndim > 1 else value,
                        )
                    )
                )
            case "dtype":
                changed[key] = value.to(draw(st.sampled_from(DTYPES)))
            case "empty":
                changed[key] = value.new_empty(0)
            case "nan":
                changed[key] = torch.full_like(value, float("nan")) if value.is_floating_point() else -value
            case "other":
                changed[key] = weights[draw(st.sampled_from(sorted(weights)))].clone()
            case "strange":
                changed[key], changed["x" * draw(st.integers(0, 300))] = value, torch.zeros(2)
    return changed


@st.composite
def other_settings(draw, settings):
    """Settings of which a few, at any depth, are anything, gone or new."""
    settings = json.loads(json.dumps(settings))
    for _ in range(draw(st.integers(0, 2))):
        at = settings
        while True:
            keys = [*at] if isinstance(at, dict) else [*range(len(at))]
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if not isinstance(at[key], dict | list) or draw(st.integers(0, 2)) == 0:
                match draw(st.sampled_from(("any", "any", "drop"))):
                    case "any":
                        at[key] = draw(YAML)
                    case "drop":
                        del at[key]
                break
            at = at[key]
    return json.dumps(settings, default=str)


def answer(file, settings, picture):
    """What the model of a file says, by its config, torch and the settings themselves."""
    model = sf.create_model(**settings["config"])
    model.load_state_dict(model.state_dict() | load_file(file))
    x = eval_transform(**settings["preprocess"])(picture)
    with torch.inference_mode():
        shares = model.eval()(x[None])[0].softmax(0).tolist()
    return dict(zip(settings.get("classes") or map(str, range(len(shares))), shares, strict=True))


@pytest.fixture
def picture(tmp_path):
    image = Image.radial_gradient("L").resize((16, 16)).convert("RGB")
    image.save(tmp_path / "picture.png")
    return image


@pytest.mark.quick(25)
def test_weights(tries, ask, tmp_path, weights, told, picture):
    file = tmp_path / "weights.safetensors"

    @tries
    @given(changed=other_weights(weights))
    def check(changed):
        save_file({key: value.contiguous() for key, value in changed.items()}, file, {METADATA: json.dumps(told)})
        ran = ask("predict", file, "picture.png", "--json")
        ask("identify", file, "--json")
        if ran.status == 0:
            (row,) = ran.answer
            assert {said["label"]: said["confidence"] for said in row["top"]} == pytest.approx(
                answer(file, told, picture)
            )
        else:
            assert str(file) in ran.err

    check()


@pytest.mark.quick(25)
def test_settings_inside(tries, ask, tmp_path, weights, told, picture):
    file = tmp_path / "weights.safetensors"

    @tries
    @given(settings=other_settings(told))
    def check(settings):
        save_file(weights, file, {METADATA: settings})
        ran = ask("predict", file, "picture.png", "--json")
        ask("identify", file, "--json")
        if ran.status == 0:
            (row,) = ran.answer
            wanted = answer(file, json.loads(settings), picture)
            assert {said["label"]: said["confidence"] for said in row["top"]} == pytest.approx(wanted)

    check()


class Evil:
    """A pickle of it makes a folder when it is read by something that runs what it holds."""

    def __init__(self, call, *arguments):
        self.what = call, arguments

    def __reduce__(self):
        return self.what


@pytest.mark.quick(30)
def test_files(tries, ask, tmp_path, weights, told, picture):
    """Damaged containers, and pickles that ask for a call, wherever they hide it: none is made."""
    trap = tmp_path / "trap"
    calls = (
        (os.mkdir, str(trap)), (os.system, f"mkdir {trap}"), (eval, f"__import__('os').mkdir({str(trap)!r})"),
        (exec, f"import os; os.mkdir({str(trap)!r})"), (torch.load, str(trap)), (__import__, "this"),
    )  # fmt: skip

    @tries
    @given(ending=st.sampled_from(("safetensors", "ckpt", "pth", "pt", "bin", "json", "png")), data=st.data())
    def check(ending, data):
        file = tmp_path / f"w.{ending}"
        content = {"state_dict": weights, METADATA: told}
        evil = None
        match data.draw(st.sampled_from(("safe", "whole", "legacy", "pickle", "evil", "hidden", "bytes"))):
            case "safe":
                save_file(weights, file, {METADATA: json.dumps(told)})
            case "whole":
                torch.save(content, file)
            case "legacy":
                torch.save(content, file, _use_new_zipfile_serialization=False)
            case "pickle":
                file.write_bytes(pickle.dumps({"state_dict": {k: v.numpy() for k, v in weights.items()}}))
            case "evil":
                evil = Evil(*data.draw(st.sampled_from(calls)))
                file.write_bytes(pickle.dumps(evil))
            case "hidden":
                evil = Evil(*data.draw(st.sampled_from(calls)))
                place = data.draw(st.sampled_from((METADATA, "args", "optimizer", "state_dict", "new")))
                torch.save({**content, place: {"x": evil, **(weights if place == "state_dict" else {})}}, file)
            case "bytes":
                file.write_bytes(data.draw(st.binary(max_size=200)))
        file.write_bytes(data.draw(damaged(file.read_bytes())))
        ran = ask("predict", file, "picture.png", "--json")
        ask("identify", file, "--json")
        assert not trap.exists()
        if evil is not None:
            assert ran.status == 2
        elif ran.status == 0:
            (row,) = ran.answer
            assert len(row["top"]) == 3

    check()
