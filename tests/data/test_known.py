"""The table of known sets: one row is all that a new set needs."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from spikeformers.cli import main
from spikeformers.data import known, known_sets, load_sets
from spikeformers.data.events import named
from spikeformers.data.known import SETS, KnownImages, KnownRecordings, Traits
from spikeformers.data.settings import Data
from spikeformers.training import fit

MODEL = {
    "name": "spikformer", "dim": 16, "depth": 1, "num_heads": 2, "strides": [2, 2, 1, 1], "mlp_ratio": 2,
    "image_size": 12, "time_steps": 2,
}  # fmt: skip


class Stripes:
    """20 grey images of 12 x 12 of each of two classes."""

    targets = [0, 1] * 20

    def __len__(self):
        return 40

    def __getitem__(self, i):
        pixels = np.zeros((12, 12), np.uint8)
        pixels[:: 2 + self.targets[i]] = 200 + i
        return Image.fromarray(pixels), self.targets[i]


@pytest.fixture
def stripes(monkeypatch):
    row = KnownImages(
        lambda name, root, download: (Stripes(), Stripes(), ("even", "odd")),
        Traits(1, 12, (0.4,), (0.5,), "bilinear"),
        hub="someone/stripes",
    )
    monkeypatch.setitem(SETS, "stripes", row)


@pytest.fixture
def train_on(tmp_path, without_pictures):
    def train_on(name, **data):
        recipe = {"model": MODEL, "data": {"name": name, "workers": 0, **data}, "batch_size": 4, "epochs": 1}
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump({**recipe, "out": str(tmp_path / "runs"), "run": "one"}))
        return fit(str(tmp_path / "recipe.yaml"))

    return train_on


def test_a_row_adds_a_set_of_images(stripes, train_on, capsys):
    result = train_on("stripes")
    assert result.test.images == 40
    settings = yaml.safe_load((result.run / "config.json").read_text())
    assert settings["config"]["in_channels"] == 1 and settings["config"]["num_classes"] == 2
    assert settings["preprocess"]["image_size"] == 12 and settings["preprocess"]["mean"] == [0.4]
    assert "- someone/stripes" in (result.run / "README.md").read_text()
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    assert " ".join(known_sets()) in " ".join(capsys.readouterr().out.split())
    with pytest.raises(FileNotFoundError, match="did you mean stripes"):
        load_sets(dataclasses.asdict(Data(name="stripe")), seed=0)


def test_a_row_adds_a_set_of_recordings(tmp_path, monkeypatch, train_on):
    rng = np.random.RandomState(0)
    for label in ("left", "right"):
        (tmp_path / "data" / "flashes" / label).mkdir(parents=True)
        for i in range(10):
            events = np.stack(
                [np.arange(300), rng.randint(9, size=300), rng.randint(9, size=300), np.arange(300) % 2], 1
            )
            np.savetxt(
                tmp_path / "data" / "flashes" / label / f"{i}.csv", events, "%d", ",", header="t,x,y,p", comments=""
            )
    row = KnownRecordings(
        named.unsplit, (10, 10), lambda folder: (folder / "left").is_dir(), [("f.zip", "https://f", "0")]
    )
    monkeypatch.setitem(SETS, "flashes", row)
    result = train_on("flashes", root=str(tmp_path / "data"), cache=None, test=0.2)
    settings = yaml.safe_load((result.run / "config.json").read_text())
    assert settings["preprocess"]["sensor"] == [10, 10]
    assert result.test.images == 4
    with pytest.raises(FileNotFoundError, match=r"unpack f\.zip from https://f"):
        monkeypatch.setattr("torchvision.datasets.utils.download_url", _no_network)
        load_sets(dataclasses.asdict(Data(name="flashes", root=str(tmp_path))), seed=0)


def _no_network(*_, **__):
    raise OSError("no network")


def test_names_stand_in_the_table_only():
    """What else names a set by its name, in the package's code, is an example, a recipe's default or a model."""
    package = Path(known.__file__).parents[1]
    assert known_sets() == tuple(SETS)
    for file in ("data/images.py", "data/sets.py", "data/events/load.py", "data/events/named.py", "cli/train.py",
                 "checkpoints/card.py", "timm/spiking_transformer.py"):  # fmt: skip
        text = (package / file).read_text()
        assert [name for name in SETS if f'"{name}"' in text and name != "digits"] == []
