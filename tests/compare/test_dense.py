"""`spikeformers compare` of detectors and segmenters: their own score in the place of accuracy, ReLU beside spikes."""

import csv
import json
import re
import sys
from functools import partial

import pytest
import torch
from tiny_dense import MODELS, write_recipe

import spikeformers as sf
from spikeformers.cli import main
from spikeformers.compare import base_recipe, compare
from spikeformers.compare.board import state
from spikeformers.compare.budget import _loss_on, measured_prices, training_flops
from spikeformers.compare.plan import Run, combinations, read_swap
from spikeformers.deploy import DensePredictor
from spikeformers.models.measure import MEASURES
from spikeformers.training import dense_pictures, read_recipe
from spikeformers.training.prepare import prepare

EVERY_NEURON = "neuron+neck_neuron+head_neuron"
KINDS = {"boxed": ("mAP50", "map50", "mAP"), "masked": ("mIoU", "miou", "mIoU")}


@pytest.fixture(scope="module", params=["boxed", pytest.param("masked", marks=pytest.mark.slow)])
def compared(request, tmp_path_factory):
    """The kind of labels, and a report on LIF and ReLU at one seed, an epoch each."""
    file = write_recipe(request, request.param, tmp_path_factory.mktemp("out"), epochs=1, schedule={})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dense_pictures, "_save", lambda *_: None)
        patch.setattr("spikeformers.training.results.draw_curves", lambda *_: None)
        patch.setattr(sys.modules[compare.__module__], "measured_prices", partial(measured_prices, repeats=1))
        report = compare(base_recipe(file, []), {"neuron": ["LIF", "torch.nn:ReLU"]}, seeds=1, jobs=1)
    return request.param, report


def test_the_score_is_the_tasks(compared):
    kind, report = compared
    name, field, chooser = KINDS[kind]
    assert (report.measure, report.chosen_by, report.failed) == (name, chooser, {})
    for row in report.rows:
        run = report.folder / f"{row.variant}-seed0"
        result = json.loads((run / "results.json").read_text())
        assert row.test == result["test"][field]
        with (run / "metrics.csv").open(newline="") as table:
            assert row.validation == float([*csv.DictReader(table)][result["epoch"] - 1][f"val_{field}"])
        assert row.millijoules > 0 and row.peak_mib > 0
    assert {f"validation {name}, %", f"test {name}, %"} <= report.table()[0].keys()
    assert "train longer" in " ".join(report.notes)  # an epoch of three steps


def test_no_page_speaks_of_accuracy(compared):
    kind, report = compared
    name, _, chooser = KINDS[kind]
    for file in ("index.html", "report.md", "pareto.svg", "report.json"):
        text = (report.folder / file).read_text()
        assert name in text and "accurac" not in text.lower(), file
    assert f"Validation {chooser} chose each run's epoch" in (report.folder / "report.md").read_text()


def test_relu_costs_multiplications_and_has_no_firing_rate(compared):
    _, report = compared
    lif, relu = report.rows
    assert (lif.variant, relu.variant) == ("LIF", "ReLU")
    assert lif.parameters == relu.parameters
    assert relu.mac > 5 * lif.mac > 0
    assert report.describe()["rows"][1]["firing"] is None
    assert [row["firing"] for row in report.table()][1] == "-" and 0 <= lif.firing < 1
    described = (report.folder / "variants.csv").read_text()
    assert "nan" not in described


def test_a_run_of_relu_is_analysed(compared, tmp_path, capsys):
    _, report = compared
    run = report.folder / "ReLU-seed0"
    with pytest.raises(SystemExit) as left:
        main(["analyze", str(run), "--out", str(tmp_path / "report")])
    assert left.value.code == 0, capsys.readouterr().err
    assert DensePredictor(run)([str(run / "samples" / "1.png")])[0].size == (32, 48)  # no stranger's part
    assert "Not entirely spike-driven" in capsys.readouterr().out
    assert not re.search(r"[>\s]nan\b", (tmp_path / "report" / "index.html").read_text())


def test_the_live_table_shows_the_score_of_the_best_epoch(tmp_path, request):
    recipe = base_recipe(write_recipe(request, "boxed", tmp_path), ["--out", str(tmp_path), "--run", "own"])
    run = Run("LIF", recipe, {}, MEASURES["detection"])
    run.folder.mkdir()
    rows = "epoch,val_map,val_map50,seconds\n1,12,40,1\n2,11,45,1\n"
    (run.folder / "metrics.csv").write_text(rows)
    assert state(run, {}) == "epoch 2/2, 45.00 %"
    (run.folder / "results.json").write_text("{}")
    assert state(run, {}) == "done 40.00 %"


def test_a_part_of_the_head_on_regions_has_its_price(request, tmp_path):
    """Mask R-CNN's training step is measured with the heads on regions, which only its losses run."""
    flops = []
    for width in (16, 512):
        ready = prepare(read_recipe(write_recipe(request, "outlined", tmp_path), {"model.head_dim": width}))
        x, targets = next(iter(ready.loaders.eval_loader(ready.loaders.train)))
        flops.append(training_flops(ready.model, x, _loss_on(ready, targets)))
    assert flops[1] > 1.2 * flops[0]


def test_arguments_that_change_together():
    argument, values = read_swap(f"{EVERY_NEURON}=IntegerHalfEven,torch.nn:ReLU")
    first, second = combinations(MODELS["boxed"], {argument: values})
    assert (first.name, second.name) == ("IntegerHalfEven", "ReLU")
    assert {second.model[name] for name in EVERY_NEURON.split("+")} == {"torch.nn:ReLU"}
    assert second.chosen == {EVERY_NEURON: "ReLU"}
    with pytest.raises(ValueError, match="two swaps name neuron: give all its values at once"):
        combinations(MODELS["boxed"], {argument: values, "neuron": ["LIF", "PLIF"]})
    with pytest.raises(ValueError, match="is not written as slot=A,B"):
        read_swap("neuron+=LIF,PLIF")


@pytest.mark.parametrize("kind", MODELS)
def test_neck_and_head_take_the_trunks_neuron_unless_they_have_their_own(kind):
    def kinds(**neurons):
        model = sf.create_model(**MODELS[kind], **neurons)
        parts = [part for part in model.modules() if hasattr(part, "levels") or isinstance(part, torch.nn.ReLU)]
        return {type(part).__name__ for part in parts}, model.config

    assert kinds(neuron="torch.nn:ReLU")[0] == {"ReLU"}
    assert kinds(neuron="LIF", head_neuron="PLIF")[0] == {"LIF", "PLIF"}
    found, config = kinds(neuron="IntegerHalfEven")
    assert found == {"IntegerHalfEven"}
    undivided = {"part": "IntegerHalfEven", "unit": 1.0}
    assert config["neck_neuron"] == ("IntegerHalfEven" if kind == "masked" else undivided)
    again = sf.create_model(**json.loads(json.dumps(config)))
    assert again.config == config
