"""What a checkpoint says of images."""

import dataclasses
import json
import shutil
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import spikeformers as sf
from spikeformers.checkpoints.read import METADATA, read_checkpoint
from spikeformers.deploy import Predictor

PREPROCESS = {"image_size": 16, "mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bilinear", "crop_pct": 1.0}


@pytest.fixture
def make_checkpoint(tmp_path, lively):
    """Saves a small model that has something to say; gives the file."""

    def make(in_channels=3, classes=("cat", "dog", "owl"), without="", **changes):
        model = sf.create_model(
            "spikformer", dim=16, depth=1, num_heads=2, strides=(2, 2, 1, 1), time_steps=2, image_size=16,
            num_classes=len(classes), in_channels=in_channels,
        )  # fmt: skip
        lively(model, torch.randn(8, in_channels, 16, 16))  # of both signs, as images are once they are normalised
        torch.nn.init.normal_(model.head.linear.weight, std=3.0)  # else every class gets about a third
        preprocess = {**PREPROCESS, "mean": [0.5] * in_channels, "std": [0.5] * in_channels}
        settings = {"preprocess": preprocess, "classes": list(classes), **changes}
        settings.pop(without, None)
        return sf.save_pretrained(model, tmp_path / "weights.safetensors", **settings)

    return make


@pytest.fixture
def pictures(tmp_path):
    """Files of several kinds that show noise."""
    noise = np.random.default_rng(0)
    files = []
    kinds = (("RGB", "a.png"), ("L", "b.png"), ("RGBA", "c.png"), ("P", "d.gif"), ("RGB", "e.jpg"))
    for i, (mode, name) in enumerate(kinds):
        image = Image.fromarray(noise.integers(0, 256, (16 + i, 20, 3), np.uint8)).convert(mode)
        image.save(tmp_path / name)
        files.append(tmp_path / name)
    return files


def test_labels_with_confidence_most_confident_first(make_checkpoint, pictures):
    predictor = Predictor(make_checkpoint())
    said = predictor(pictures)
    assert len(said) == len(pictures)
    for row in said:
        assert {label for label, _ in row} == {"cat", "dog", "owl"}
        confidence = [p for _, p in row]
        assert confidence == sorted(confidence, reverse=True)
        assert sum(confidence) == pytest.approx(1)
    assert len({row[0][1] for row in said}) > 1


def test_a_checkpoint_in_memory_answers_by_its_own_weights(make_checkpoint, pictures):
    checkpoint = read_checkpoint(make_checkpoint())
    bias = {"head.linear.bias": torch.tensor([0.0, 0.0, 1e4])}
    changed = dataclasses.replace(checkpoint, weights={**checkpoint.weights, **bias})
    assert {row[0] for row in Predictor(changed)(pictures)} != {row[0] for row in Predictor(checkpoint)(pictures)}
    assert all(row[0] == ("owl", 1.0) for row in Predictor(changed)(pictures))


def test_a_model_of_another_size_gets_images_of_that_size(make_checkpoint, pictures):
    predictor = Predictor(make_checkpoint(), image_size=32)
    assert predictor.read(pictures[0])[0].shape == (3, 32, 32)


def test_confidence_is_the_softmax_of_the_models_logits(make_checkpoint, pictures):
    file = make_checkpoint()
    image = Image.open(pictures[0]).convert("RGB").resize((16, 16), Image.Resampling.BILINEAR, (2, 0, 18, 16))
    x = (torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255 - 0.5) / 0.5
    with torch.no_grad():
        expected = sf.from_pretrained(file)(x[None]).softmax(-1)[0]
    (said,) = Predictor(file)([pictures[0]])
    assert dict(said) == pytest.approx(dict(zip(("cat", "dog", "owl"), expected.tolist(), strict=True)), abs=1e-6)


def test_one_image_is_told_as_in_a_batch(make_checkpoint, pictures):
    predictor = Predictor(make_checkpoint())
    together = predictor(pictures)
    for picture, row in zip(pictures, together, strict=True):
        (alone,) = predictor([picture])
        assert dict(alone) == pytest.approx(dict(row), abs=1e-6)


def test_paths_strings_and_images_are_the_same(make_checkpoint, pictures):
    predictor = Predictor(str(make_checkpoint()))
    a, b, c = predictor([pictures[2], str(pictures[2]), Image.open(pictures[2])])
    assert a == b == c


@pytest.mark.parametrize("top", [1, 2, 5])
def test_top(make_checkpoint, pictures, top):
    assert len(Predictor(make_checkpoint())(pictures[:1], top=top)[0]) == min(top, 3)


def test_a_model_of_one_channel_sees_grey(make_checkpoint, pictures):
    predictor = Predictor(make_checkpoint(in_channels=1))
    grey = Image.open(pictures[0]).convert("L")
    assert predictor([pictures[0]]) == predictor([grey])


def test_classes_without_names_are_numbers(make_checkpoint, pictures):
    (said,) = Predictor(make_checkpoint(without="classes"))(pictures[:1])
    assert {label for label, _ in said} == {"0", "1", "2"}


def png_with_a_broken_chunk(path):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 16, 16, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"nothing") + chunk(b"IEND", b""))


def test_files_that_are_no_images_are_named(make_checkpoint, tmp_path, pictures):
    predictor = Predictor(make_checkpoint())
    whole = pictures[0].read_bytes()
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "short.png").write_bytes(whole[: len(whole) // 2])
    png_with_a_broken_chunk(tmp_path / "chunk.png")
    for name in ("text.png", "empty.png", "short.png", "chunk.png"):
        with pytest.raises(
            ValueError, match=rf"{name} cannot be read as an image \(.+\); leave it out, or run predict --skip-broken"
        ):
            predictor([pictures[0], tmp_path / name])
    for missing in (tmp_path / "nowhere.png", tmp_path):
        with pytest.raises(FileNotFoundError, match="there is no image"):
            predictor([missing])


def test_an_image_too_large_to_be_meant_is_refused(make_checkpoint, pictures, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(ValueError, match=r"cannot be read as an image \(Image size \(320 pixels\) exceeds limit"):
        Predictor(make_checkpoint())(pictures[:1])


def test_weights_that_are_not_finite_give_no_answer(make_checkpoint, pictures):
    file = make_checkpoint()
    weights = {**load_file(file), "head.linear.bias": torch.full((3,), float("nan"))}
    odd = file.with_name("odd.safetensors")
    save_file(weights, odd, {"spikeformers": json.dumps(read_checkpoint(file).settings)})
    with pytest.raises(ValueError, match=r"odd.safetensors is damaged: head.linear.bias holds numbers"):
        Predictor(odd)(pictures[:1])


def test_as_many_names_as_the_model_tells_apart(make_checkpoint):
    """Of a file whose names are too few or many, and of a model with another head."""
    file = make_checkpoint()
    with pytest.raises(ValueError, match=r"names 3 classes, but the model has 5: leave out num_classes"):
        Predictor(file, num_classes=5)
    with pytest.raises(ValueError, match=r"was trained without labels and has no classes"):
        Predictor(file, num_classes=0)
    for number, said in ((1, "2 of another shape"), (4, "2 of another shape"), (0, "2 not the model's")):
        told = {**sf.from_pretrained(file).config, "num_classes": number}
        settings = {**read_checkpoint(file).settings, "config": told}
        odd = file.with_name("odd.safetensors")
        save_file(load_file(file), odd, {"spikeformers": json.dumps(settings)})
        with pytest.raises(ValueError, match=rf"odd.safetensors does not fit spikformer: {said}"):
            Predictor(odd)


@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_are_refused_rather_than_clipped(make_checkpoint, tmp_path, channels):
    deep = Image.fromarray(np.full((16, 16), 40_000, np.uint16))
    deep.save(tmp_path / "deep.png")
    predictor = Predictor(make_checkpoint(in_channels=channels))
    for given in (tmp_path / "deep.png", Image.open(tmp_path / "deep.png")):
        with pytest.raises(ValueError, match=r"deep\.png has more than 8 bits per channel"):
            predictor([given])
    with pytest.raises(ValueError, match=r"the image of 16 x 16 pixels has more than 8 bits per channel"):
        predictor([deep])


def test_files_and_objects_are_seen_upright(make_checkpoint, pictures, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = Image.open(pictures[0])
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    predictor = Predictor(make_checkpoint())
    said = predictor([pictures[0], tmp_path / "turned.png", Image.open(tmp_path / "turned.png")])
    assert said[0] == said[1] == said[2]


def test_what_is_neither_file_nor_image_is_refused(make_checkpoint, pictures):
    predictor = Predictor(make_checkpoint())
    for given in (np.zeros((16, 16, 3)), torch.zeros(3, 16, 16), b"a.png"):
        with pytest.raises(TypeError, match=r"reads a path or a PIL image, not a (ndarray|Tensor|bytes)"):
            predictor([given])
    for alone in (str(pictures[0]), pictures[0], Image.open(pictures[0])):
        with pytest.raises(TypeError, match=r"inputs is a single .*: put it in a list"):
            predictor(alone)
    assert predictor([]) == []


def test_a_folder_is_the_files_in_it(make_checkpoint, pictures, tmp_path):
    predictor = Predictor(make_checkpoint())
    (tmp_path / "more" / ".hidden").mkdir(parents=True)
    for name in ("more/z.PNG", "more/.hidden/y.png", "more/notes.txt"):
        shutil.copy(pictures[0], tmp_path / name)
    files = predictor.files(tmp_path)
    assert files == [*(str(picture) for picture in sorted(pictures)), str(tmp_path / "more" / "z.PNG")]
    assert predictor.files(files[0]) == files[:1]
    with pytest.raises(FileNotFoundError, match=r"there is no image .*more: it is a folder, so give the files in it"):
        predictor([tmp_path / "more"])
    (tmp_path / "none").mkdir()
    with pytest.raises(FileNotFoundError, match=r"none holds no image that the model reads \(\.jpg"):
        predictor.files(tmp_path / "none")


def test_a_checkpoint_that_does_not_say_how_it_sees_is_refused(make_checkpoint):
    for changes in ({"without": "preprocess"}, {"preprocess": {"image_size": 16}}):
        with pytest.raises(ValueError, match=r"weights\.safetensors has no preprocessing settings"):
            Predictor(make_checkpoint(**changes))
    damaged = make_checkpoint()
    save_file(load_file(damaged), damaged, {METADATA: json.dumps({"preprocess": "as usual"})})
    with pytest.raises(
        ValueError, match=r"weights\.safetensors is damaged: its setting preprocess must be a mapping, not 'as usual'"
    ):
        Predictor(damaged)


def test_a_model_of_events_takes_no_images(make_checkpoint):
    with pytest.raises(ValueError, match="the model takes 2 channels, but images have 1 or 3"):
        Predictor(make_checkpoint(in_channels=2))
