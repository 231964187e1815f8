"""A recipe so small that a run takes a second: three classes of 16 x 16 images in a folder, a Spikformer 16 wide."""

import csv
import sys

import pytest
import torch
import yaml
from PIL import Image

from spikeformers.training import fit

RECIPE = {
    "model": {
        "name": "spikformer",
        "dim": 16,
        "depth": 1,
        "num_heads": 2,
        "strides": [2, 2, 1, 1],
        "mlp_ratio": 2,
        "time_steps": 2,
        "image_size": 16,
    },
    "data": {"validation": 0.2, "workers": 0},
    "optimizer": {"lr": 0.01},
    "epochs": 1,
    "batch_size": 12,
}


def write_images(folder, classes=("left", "right", "top"), train=20, test=4, size=16):
    """Writes `train/<class>/*.png` and `test/<class>/*.png`: noise, brighter in a place that tells the class."""
    noise = torch.Generator().manual_seed(0)
    for split, count in (("train", train), ("test", test)):
        for label, name in enumerate(classes):
            (folder / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = torch.randint(0, 100, (size, size, 3), generator=noise, dtype=torch.uint8)
                pixels.view(-1, 3)[label :: len(classes)] += 120
                Image.fromarray(pixels.numpy()).save(folder / split / name / f"{i}.png")
    return folder


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    """60 training images, of which validation takes 12 and a batch 12, and 12 test images."""
    return write_images(tmp_path_factory.mktemp("images") / "set")


@pytest.fixture
def make_images(tmp_path):
    return lambda name="own", **counts: write_images(tmp_path / name, **counts)


@pytest.fixture(scope="session")
def recipe_file(images, tmp_path_factory):
    """The recipe: one epoch of four steps."""
    file = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    file.write_text(yaml.safe_dump({**RECIPE, "data": {**RECIPE["data"], "name": str(images)}}))
    return str(file)


@pytest.fixture
def without_pictures(monkeypatch):
    """Runs draw nothing: half of a tiny run's time."""
    running = sys.modules["spikeformers.training.results"]
    monkeypatch.setattr(running, "draw_curves", lambda *_: None)
    monkeypatch.setattr(running, "draw_predictions", lambda *_: None)


@pytest.fixture
def train(recipe_file, tmp_path, without_pictures):
    """Trains by the tiny recipe, with some fields changed, into `tmp_path/<run>`, and draws nothing."""

    def train(run="run", **changes):
        return fit(recipe_file, **{"out": str(tmp_path), "run": run, **changes})

    return train


@pytest.fixture
def rows_of():
    """The rows of a run's table of metrics."""

    def rows_of(run):
        with (run / "metrics.csv").open(newline="") as file:
            return list(csv.DictReader(file))

    return rows_of


@pytest.fixture(scope="session")
def finished(recipe_file, tmp_path_factory):
    """A finished run of three epochs that also read the test set each epoch."""
    out = tmp_path_factory.mktemp("runs")
    return fit(recipe_file, out=str(out), run="done", epochs=3, data={"test_each_epoch": True})
