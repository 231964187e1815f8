"""The report: its files, its structure, and how it looks in a browser where there is one."""

import base64
import csv
import json
import re
from html.parser import HTMLParser

import pytest
import torch
from browser import in_browser, needs_a_browser, on_a_phone
from tiny_models import build

import spikeformers as sf
from spikeformers.analysis import CONVENTIONS, report_pictures
from spikeformers.analysis.report import write_report
from spikeformers.analysis.report_page import block_of
from spikeformers.data.eval_shards import NOT_COUNTED
from spikeformers.data.loading import eval_loader
from spikeformers.evaluation.subject import Batches


class Looks(HTMLParser):
    """Every tag is closed in order; what images and links point to."""

    VOID = ("meta", "img", "link", "br", "wbr")

    def __init__(self):
        super().__init__()
        self.open, self.images, self.links, self.ids, self.foreign = [], [], [], [], []

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "img":
            assert values["alt"]
            self.images.append(values["src"])
        self.ids += [values["id"]] if "id" in values else []
        self.links += [values["href"]] if tag == "a" else []
        self.foreign += [v for k, v in values.items() if k in ("src", "href") and not v.startswith(("data:", "#"))]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """A report on a tiny model, and its folder."""
    torch.manual_seed(0)
    model = build("spikformer", time_steps=3)
    x, labels = torch.randn(6, 3, 16, 16), torch.arange(6)
    for norm in (m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)):
        torch.nn.init.constant_(norm.bias, 0.7)
        norm.momentum = 1.0
    model.train()(x)
    torch.nn.init.constant_(model.blocks[1].mlp.core.fc1.norm.bias, -50)  # a dead layer
    folder = tmp_path_factory.mktemp("report") / "out"
    batches = [(x[:4], labels[:4]), (x[4:], labels[4:])]
    about = {"data": "noise & <nothing>"}
    report = write_report(model, batches, folder, title="A <tiny> model", about=about, classes=list("abcdefghij"))
    return report, folder


def test_the_files_say_what_the_profile_says(reported):
    report, folder = reported
    assert {path.name for path in folder.iterdir()} == {"index.html", "summary.json", "layers.csv", "pictures"}
    says = json.loads((folder / "summary.json").read_text())
    for name in CONVENTIONS:
        assert says["energy"][name]["millijoules"] == report.profile.total(name).millijoules
    assert [answer["steps"] for answer in says["anytime"]] == [1, 2, 3]
    assert says["top1"] == says["anytime"][-1]["top1"] == report.top1
    assert says["verdict"].startswith("Not entirely spike-driven") and 1 <= len(says["advice"]) <= 3
    with (folder / "layers.csv").open() as table:
        assert len(list(csv.DictReader(table))) == len(says["layers"])
    assert not folder.with_name("out.unfinished").exists()


def test_the_page_is_whole_and_needs_nothing_else(reported):
    folder = reported[1]
    page = (folder / "index.html").read_text()
    looks = Looks()
    looks.feed(page)
    assert looks.open == [] and looks.foreign == []
    assert {link.removeprefix("#") for link in looks.links} == {"cost", "firing", "audit", "attention", "time", "cite"}
    assert {link.removeprefix("#") for link in looks.links} <= set(looks.ids)
    assert not re.search(r"https?://", page.replace("http://www.w3.org", ""))
    assert "A &lt;tiny&gt; model" in page and "noise &amp; &lt;nothing&gt;" in page
    assert "prefers-color-scheme: dark" in page and "@media print" in page
    files = sorted((folder / "pictures").iterdir())
    embedded = [base64.b64decode(image.partition("base64,")[2]) for image in looks.images]
    assert sorted(embedded) == sorted(file.read_bytes() for file in files)
    assert len(files) == 3 + 2 * (2 + 2)  # depth, raster, anytime; of two inputs: itself, relevance, two blocks
    assert "blocks.1.mlp.core.neuron (100%)" in page.replace("<wbr>", "")
    for name in CONVENTIONS:
        assert f"<td>{name}</td>" in page


@needs_a_browser
@pytest.mark.parametrize("width", [500, 1200])  # no headless window is narrower than 500
def test_in_a_browser(reported, tmp_path, width):
    told = in_browser(reported[1] / "index.html", tmp_path, width)
    assert (told["told"], told["broken"], told["outside"], told["cut"]) == ([], 0, [], 0)
    assert told["pictures"] == 11
    assert told["scroll"] <= told["width"] == width


@needs_a_browser
def test_on_a_phone(reported, tmp_path):
    told = on_a_phone(reported[1] / "index.html", tmp_path)
    assert (told["told"], told["broken"], told["outside"], told["cut"]) == ([], 0, [], 0)
    assert told["scroll"] <= told["width"] <= 360
    assert min(told["charts"]) >= 0.75  # of the size that letters are drawn at
    assert min(told["tiles"]) >= 1  # they scroll


def test_tiles_of_attention_say_head_step_and_what_their_colours_mean(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(report_pictures, "save", lambda figure, *_, **__: figures.append(figure))
    maps = torch.rand(3, 2, 4, 4)  # T M h w
    report_pictures.draw_maps(torch.rand(3, 3, 16, 16), maps, tmp_path / "maps.png")
    (figure,) = figures
    tiles, scale = figure.axes

    def said(axis):
        return [text.get_text() for text in axis.get_ticklabels() if text.get_text()]

    assert said(tiles.xaxis) == ["step 1", "step 2", "step 3"] and said(tiles.yaxis) == ["head 1", "head 2"]
    assert said(scale.yaxis) == ["0", f"{float(maps.max()):.4g}"]
    height, width = tiles.images[0].get_array().shape[:2]
    assert height / 2 >= 96 and width / 3 >= 96  # pixels a tile


@pytest.mark.parametrize("size", [(240, 320), (64, 16), (3, 500)])
def test_pictures_have_the_proportions_of_their_image(size, tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(report_pictures, "save", lambda figure, *_, **__: figures.append(figure))
    frames = torch.rand(2, 3, *size)  # T C H W
    report_pictures.draw_input(frames, tmp_path / "input.png")
    report_pictures.draw_maps(frames, torch.rand(2, 3, 4, 4), tmp_path / "maps.png")
    for figure, rows in zip(figures, (1, 3), strict=True):
        height, width = figure.axes[0].images[0].get_array().shape[:2]
        tile = (height + 3) / rows - 3, (width + 3) / 2 - 3  # without the gaps
        assert tile == tuple(max(round(96 * side / max(size)), 1) for side in size)


def test_a_report_leaves_the_model_as_it_was(tmp_path):
    model, batches = build("spikformer").train(), [(torch.randn(2, 3, 16, 16), torch.arange(2))]
    model.blocks[0].eval()
    before = {name: module.training for name, module in model.named_modules()}
    state = {key: value.clone() for key, value in model.state_dict().items()}
    write_report(model, batches, tmp_path / "out", shown=1)
    assert {name: module.training for name, module in model.named_modules()} == before
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


def test_a_report_takes_the_place_of_an_older_one_and_of_nothing_else(reported, tmp_path):
    model, batches = build("spikformer"), [(torch.randn(1, 3, 16, 16), torch.zeros(1, dtype=torch.long))]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("all of it")
    with pytest.raises(ValueError, match="mine has files but no report: choose another folder"):
        write_report(model, batches, tmp_path / "mine")
    with pytest.raises(ValueError, match=r"no neuron layer 'blocks.9': choose from stem.stages.0.neuron"):
        write_report(model, batches, tmp_path / "new", raster="blocks.9")
    with pytest.raises(ValueError, match="shown -1 is below 0: give 0 or more"):
        write_report(model, batches, tmp_path / "new", shown=-1)
    with pytest.raises(ValueError, match="batches is a tensor"):
        write_report(model, batches[0][0], tmp_path / "new")
    with pytest.raises(ValueError, match="no energy convention 'mine': choose from"):
        write_report(model, batches, tmp_path / "new", convention="mine")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    for _ in range(2):
        write_report(model, batches, tmp_path / "new", shown=1)
    (tmp_path / "new" / "notes.md").write_text("mine")
    with pytest.raises(ValueError, match=r"new has notes\.md beside a report: move it, or choose another folder"):
        write_report(model, batches, tmp_path / "new")
    (tmp_path / "new" / "notes.md").unlink()
    assert len(list((tmp_path / "new" / "pictures").iterdir())) == 3 + 4


def test_what_stands_in_for_an_unreadable_file_is_left_out():
    """Counted, it would be a wrong answer."""
    images, cat, dog = torch.rand(5, 3, 4, 4), {"boxes": torch.zeros(0, 4)}, {"boxes": torch.ones(1, 4)}
    for first, last in ((2, 1), (cat, dog)):
        labels = [first, NOT_COUNTED, NOT_COUNTED, NOT_COUNTED, last]
        loader = eval_loader(list(zip(images, labels, strict=True)), batch_size=2, workers=0)
        left = [(x.tolist(), list(labels)) for x, labels in Batches(loader)]
        assert left == [(images[:1].tolist(), [first]), (images[4:].tolist(), [last])]


def test_events_and_parts_that_look_ahead(tmp_path):
    class Ahead(sf.neurons.LIF):
        causal = False

    model = build("qkformer_events", neuron=Ahead)
    clips = torch.poisson(torch.rand(3, 2, 2, 32, 32))  # T B C H W
    report = write_report(model, [(clips, torch.tensor([0, 1]))], tmp_path / "out", shown=1)
    assert report.answers == [] and "looks ahead in time" in report.refused
    assert "There is no accuracy before the last step: " in (tmp_path / "out" / "index.html").read_text()
    assert not (tmp_path / "out" / "pictures" / "anytime.svg").exists()


def test_blocks():
    names = ["stem.stages.0.proj", "blocks.12.attn.core.product1", "head.linear", "sum1", "0"]
    assert [block_of(name) for name in names] == ["stem", "blocks.12", "head", "model", "0"]
