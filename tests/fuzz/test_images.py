"""Images of every mode, format, size and orientation, whole and damaged, given to `predict` and `eval`."""

import io

import pytest
import torch
from fuzz_inputs import pictures
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps
from torchvision.transforms import functional as F

from spikeformers import from_pretrained
from spikeformers.checkpoints.read import read_checkpoint


def shares(run, data):
    """What the model says of a file, by Pillow, torchvision and the model themselves."""
    with Image.open(io.BytesIO(data)) as opened:
        opened.load()
        assert not opened.mode.startswith(("I", "F"))
        try:
            upright = ImageOps.exif_transpose(opened)
        except Exception:
            upright = opened
        x = upright.convert("RGB")
    checkpoint = read_checkpoint(run)
    how = checkpoint.settings["preprocess"]
    x = F.resize(x, 16, F.InterpolationMode(how["interpolation"]))
    x = F.normalize(F.to_tensor(F.center_crop(x, 16)), how["mean"], how["std"])
    with torch.inference_mode():
        return dict(
            zip(checkpoint.settings["classes"], from_pretrained(run)(x[None])[0].softmax(0).tolist(), strict=True)
        )


@pytest.mark.quick(25)
def test_predict(tries, ask, tmp_path, knows_pictures):
    @tries
    @given(picture=pictures())
    def check(picture):
        ending, data = picture
        file = tmp_path / f"a.{ending}"
        file.write_bytes(data)
        ran = ask("predict", knows_pictures, file, "--json")
        if ran.status == 0:
            (row,) = ran.answer
            assert row["file"] == str(file)
            wanted = shares(knows_pictures, data)
            assert {said["label"]: said["confidence"] for said in row["top"]} == pytest.approx(wanted, abs=1e-6)
        else:
            assert str(file) in ran.err

    check()


@pytest.mark.quick(10)
def test_eval(tries, ask, tmp_path, knows_pictures):
    classes = read_checkpoint(knows_pictures).settings["classes"]
    for split in ("train", "test"):
        for name in classes:
            (tmp_path / "set" / split / name).mkdir(parents=True)
            Image.new("RGB", (16, 16), "red").save(tmp_path / "set" / split / name / "whole.png")

    @tries
    @given(picture=pictures(), label=st.sampled_from(classes), skip=st.booleans())
    def check(picture, label, skip):
        ending, data = picture
        file = tmp_path / "set" / "test" / label / f"b.{ending}"
        file.write_bytes(data)
        try:
            ran = ask("eval", knows_pictures, "--data", tmp_path / "set", "--json", *["--skip-broken"] * skip)
        finally:
            file.unlink()
        try:
            said = shares(knows_pictures, data)
        except Exception:  # Pillow raises all kinds
            said = None
        if ran.status == 2:
            assert said is None and not skip, ran
            assert str(file) in ran.err
            return
        red = io.BytesIO()
        Image.new("RGB", (16, 16), "red").save(red, "PNG")
        of_red = shares(knows_pictures, red.getvalue())
        answers = [(name, of_red) for name in classes] + ([(label, said)] if said else [])
        right = sum(max(share, key=share.get) == name for name, share in answers)
        assert said or skip
        assert ran.answer["images"] == len(answers)
        assert ran.answer["top1"] == pytest.approx(100 * right / len(answers))

    check()
