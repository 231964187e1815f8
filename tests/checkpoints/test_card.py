"""The card that a saved model explains itself by: all that is known, and nothing that is not."""

import json
import re
import shutil
from functools import partial
from pathlib import Path

import pytest
import torch
import yaml
from tiny_models import build

import spikeformers as sf
from spikeformers.checkpoints.card import model_card
from spikeformers.checkpoints.read import Checkpoint
from spikeformers.layers.attention import SSA
from spikeformers.models import PAPERS, SpikingTransformer, describe_family, describe_model, list_families, list_models
from spikeformers.neurons import LIF, from_spikingjelly
from spikeformers.ops.surrogate import ATan

TINY = dict(dim=16, depth=1, num_heads=2, image_size=8, time_steps=2)
KNOWN = {
    "license": "apache-2.0",
    "test": {"top1": 93.214, "images": 10_000},
    "recipe": {"data": {"name": "cifar10"}},
    "preprocess": {"mean": [0.4914, 0.4822], "std": [0.247, 0.2435]},
    "energy_mj": 1.2345,
}


@pytest.fixture
def card(tmp_path):
    """Saves a model, and reads its card: the YAML in front, the rows of its table, and all of its text."""

    def card(model, **settings):
        sf.save_pretrained(model, tmp_path / "saved", **settings)
        text = (tmp_path / "saved" / "README.md").read_text()
        front = yaml.safe_load(text.split("---\n")[1])
        return front, dict(re.findall(r"^\| (.+?) \| (.+) \|$", text, re.MULTILINE)), text

    return card


def test_all_that_is_known(card):
    front, rows, text = card(sf.create_model("spikformer_4_384_cifar10", drop_path=0.1), **KNOWN)
    assert front == {
        "library_name": "spikeformers",
        "pipeline_tag": "image-classification",
        "tags": ["spiking-neural-network", "spiking-transformer", "spikformer"],
        "license": "apache-2.0",
        "datasets": ["uoft-cs/cifar10"],
        "metrics": ["accuracy"],
    }
    assert rows["parameters"] == "9,324,730"
    assert (rows["time steps"], rows["input"], rows["classes"]) == ("4", "3 x 32 x 32", "10")
    assert rows["normalised by"] == "mean 0.4914 0.4822, std 0.247 0.2435"
    assert "attention `SSA`" in rows["parts"]
    assert rows["accuracy, measured"] == "93.21 % of 10,000 test images of cifar10"
    assert rows["accuracy, published"] == "95.19 % on CIFAR-10"
    assert rows["energy per image"] == "1.23 mJ, estimated"
    assert rows["licence"] == "apache-2.0"
    assert "# spikformer_4_384_cifar10\n\nSpikformer: a flat trunk of SSA and MLP with SEW shortcuts" in text
    assert "(https://arxiv.org/abs/2209.15425), ICLR 2023" in text


def test_nothing_that_is_not(card):
    front, rows, text = card(sf.create_model("spikformer_4_384_cifar10", **TINY))
    assert set(front) == {"library_name", "pipeline_tag", "tags"}
    assert set(rows) == {"parameters", "time steps", "input", "classes", "parts"}
    assert "None" not in text


@pytest.mark.parametrize(
    "settings", [{"recipe": {"data": {"name": "/home/me/images"}}}, {"recipe": None}, {"test": 3}, {"preprocess": None}]
)
def test_a_folder_of_images_stays_private_and_odd_settings_are_left_out(card, settings):
    front, _, text = card(sf.create_model("spikformer_4_384_cifar10", **TINY), **settings)
    assert set(front) == {"library_name", "pipeline_tag", "tags"}
    assert "/home" not in text


@pytest.mark.parametrize("change", [dict(time_steps=6), dict(neuron="PLIF"), dict(num_classes=7), dict(depth=3)])
def test_a_changed_model_has_no_published_accuracy(card, change):
    _, rows, _ = card(sf.create_model("spikformer_4_384_cifar10", **change))
    assert "accuracy, published" not in rows


@pytest.mark.parametrize("changed", [{}, {"num_classes": 3}])
def test_the_lines_of_use_run(card, tmp_path, monkeypatch, changed):
    _, _, text = card(sf.create_model("spikformer_4_384_cifar10", **TINY, **changed))
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tmp_path / "saved", "path/to/this/folder")
    names = {"images": torch.rand(2, 3, 8, 8)}
    exec(re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0], names)
    assert names["logits"].shape == (2, changed.get("num_classes", 10))


def run_the_card(model, monkeypatch, **names):
    """Executes a card's block as someone who has the saved file would; nothing is computed."""
    monkeypatch.setattr(
        "spikeformers.checkpoints.load.read_checkpoint",
        lambda path: Checkpoint(Path(path), model.state_dict(), {"config": json.loads(json.dumps(model.config))}),
    )
    text = model_card(model, {"config": model.config})
    size = model.image_size
    names = {"images": torch.empty(2, model.in_channels, size, size, device="meta"), **names}
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    with torch.device("meta"):
        exec(block, names)
    return names, block


@pytest.mark.parametrize("name", list_models())
def test_the_lines_of_every_size_run(name, monkeypatch):
    with torch.device("meta"):
        model = sf.create_model(name)
    monkeypatch.setattr(SpikingTransformer, "forward", lambda self, x: (self.in_channels, self.image_size, x.shape))
    names, block = run_the_card(model, monkeypatch)
    assert names["model"].config == model.config
    assert 'sf.from_pretrained("path/to/this/folder")\n' in block
    out = "logits" if model.num_classes else "features"
    assert names[out] == (model.in_channels, model.image_size, names["images"].shape)


@pytest.mark.parametrize("name", ["qkformer", "maxformer", "sdt_v3", "sew_resnet"])
@pytest.mark.parametrize("classes", [10, 0])
def test_a_card_says_what_comes_out(name, classes, monkeypatch):
    with torch.device("meta"):
        model = build(name, num_classes=classes)
    names, block = run_the_card(model, monkeypatch)
    said = re.search(r"-> \[B, (\d+)\]", block)[1]
    assert list(names["logits" if classes else "features"].shape) == [2, int(said)]


def test_a_masked_autoencoder_is_no_classifier():
    with torch.device("meta"):
        text = model_card(sf.create_model("sdt_v3_mae_83m"), {})
    assert "pipeline_tag: image-feature-extraction" in text and "classes" not in text


class Mine(SSA):
    pass


class MyLIF(LIF):
    pass


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        (dict(attention=partial(Mine, scale=0.5)), 'attention={"part": Mine, "scale": 0.5}'),
        (dict(neuron=partial(MyLIF, surrogate=ATan())), 'neuron={"part": MyLIF, "surrogate": "ATan"}'),
        (dict(neuron=MyLIF, attention=Mine), "neuron=MyLIF, attention=Mine"),
        (dict(attention=partial(SSA, scale=0.5)), ""),
        (
            dict(neuron=from_spikingjelly("spikingjelly.activation_based.neuron:IFNode")),
            "spikingjelly.activation_based",
        ),
    ],
)
def test_parts_of_ones_own_are_brought_with_their_arguments(parts, says, monkeypatch):
    with torch.device("meta"):
        model = sf.create_model("spikformer_4_384_cifar10", **TINY, **parts)
    names, block = run_the_card(model, monkeypatch, Mine=Mine, MyLIF=MyLIF)
    assert says in block and ("Mine" in block or "MyLIF" in block or not says or "spikingjelly" in says)
    assert {k: v for k, v in names["model"].config.items() if k != "neuron"} == {
        k: v for k, v in model.config.items() if k != "neuron"
    }
    assert repr(names["model"]) == repr(model)


@pytest.mark.parametrize("name", ["retinanet_sdt_v3_3m", "mask_rcnn_qkformer_10_384", "fpn_spikformer_8_384"])
@pytest.mark.parametrize("parts", [{}, {"neuron": MyLIF}, {"head_neuron": partial(MyLIF, surrogate=ATan())}])
def test_the_lines_of_detectors_and_segmenters_run(name, parts, monkeypatch):
    with torch.device("meta"):
        model = sf.create_model(name, **parts)
    monkeypatch.setattr(type(model), "forward", lambda self, x: x.shape)
    names, block = run_the_card(model, monkeypatch, MyLIF=MyLIF)
    assert repr(names["model"]) == repr(model) and names["model"].config.keys() == model.config.keys()
    assert names["logits" if name.startswith("fpn") else "found"] == (2, *model.image_shape)
    assert all(f"{argument}=" in block for argument in parts)


OWN = """
from spikeformers.layers.attention import SSA
from spikeformers.layers.head import Head
from spikeformers.layers.stem import SPS
from spikeformers.models import SpikingTransformer
from spikeformers.neurons import LIF

class Own(SSA):
    pass

def flat(*, dim: int = 8, attention=Own) -> SpikingTransformer:
    return SpikingTransformer(
        stem=SPS(3, dim, LIF, (2,)), blocks=[attention(dim, 2, LIF)], head=Head(dim, 4, LIF), time_steps=2, image_size=8
    )
"""


def test_parts_and_builders_that_are_not_ours(card, tmp_path, monkeypatch):
    (tmp_path / "own.py").write_text(OWN)
    _, rows, text = card(sf.create_model("spikformer_4_384_cifar10", attention=f"{tmp_path}/own.py:Own", **TINY))
    assert "attention `Own`" in rows["parts"]
    assert 'sf.from_pretrained("path/to/this/folder", attention=Own)' in text
    assert str(tmp_path) not in text

    model = sf.create_model(f"{tmp_path}/own.py:flat")
    _, _, text = card(model)
    assert "# flat\n" in text
    assert "in `own.py`" in text
    assert str(tmp_path) not in text
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tmp_path / "saved", "path/to/this/folder")
    config = json.loads((tmp_path / "saved" / "config.json").read_text())["config"]
    names = {"images": torch.rand(2, 3, 8, 8), "config": config}
    exec(re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0], names)
    assert torch.equal(names["logits"], model.eval()(names["images"]))


def test_a_model_built_by_hand(card):
    parts = sf.create_model("spikformer_4_384_cifar10", **TINY)
    by_hand = SpikingTransformer(stem=parts.stem, blocks=parts.blocks, head=parts.head, time_steps=2, image_size=8)
    _, rows, text = card(by_hand)
    assert rows["classes"] == "10"
    assert "built by hand" in text


@pytest.mark.parametrize("name", ["README.md", "config.json"])
def test_a_file_of_someone_elses_is_not_replaced(tmp_path, name):
    (tmp_path / name).write_text('{"mine": 1}')
    with pytest.raises(ValueError, match=rf"{name} was not written by spikeformers .*: save to another folder"):
        sf.save_pretrained(sf.create_model("spikformer_4_384_cifar10", **TINY), tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == '{"mine": 1}'


# ---- what cards and tables are made of


def test_every_size_cites_a_paper_we_know():
    assert {describe_model(name)["paper"] for name in list_models()} == set(PAPERS)


@pytest.mark.parametrize("paper", PAPERS.values(), ids=PAPERS)
def test_citations(paper):
    files = {family["file"] for family in map(describe_family, list_families()) if paper.key in family["papers"]}
    says = " ".join(" ".join(Path(file).read_text() for file in files).split())
    assert all(told in says for told in (paper.title, f"{paper.authors[0].split()[-1]} et al.", paper.id))
    entry = paper.bibtex
    assert re.match(r"@(misc|article|inproceedings)\{[a-z]+\d{4}[a-z]+,\n", entry)
    assert entry.count("{") == entry.count("}")
    assert f"title = {{{{{paper.title}}}}}" in entry
    assert (paper.venue == "arXiv") == entry.startswith("@misc")


def test_the_parts_of_families():
    says = describe_family("sdt_2_256_cifar10dvs")
    assert says["name"] == "sdt"
    assert says["parts"]["attention"] == ["SDSA", "PooledSDSA"]  # its own, then a size's
    assert describe_family("sew_resnet")["parts"]["neuron"] == ["IF"]
    assert "attention" not in describe_family("sew_resnet")["parts"]
    for family in map(describe_family, list_families()):
        assert family["title"]
        assert family["difference"].endswith(".")
