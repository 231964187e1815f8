"""What a finished run leaves behind."""

import contextlib
import csv
import json
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import spikeformers as sf
from spikeformers.analysis import FiringRates
from spikeformers.checkpoints.read import read_checkpoint
from spikeformers.data import load_images
from spikeformers.evaluation.evaluate import evaluate
from spikeformers.training import fit, pictures, read_recipe
from spikeformers.training.callbacks import EpochLines, ProgressBar, duration
from spikeformers.training.loaders import eval_loader
from spikeformers.training.metrics_table import read_metrics
from spikeformers.training.module import TrainingModule
from spikeformers.training.results import of_every_class


def test_everything_is_there_and_nothing_half_written(finished):
    entries = {str(path.relative_to(finished.run)) for path in finished.run.rglob("*") if path.is_file()}
    samples = {entry for entry in entries if entry.startswith("samples/")}
    logs = {entry for entry in entries if entry.startswith("tensorboard/")}
    assert len(samples) == 5
    assert entries - samples - logs == {
        ".lock", "README.md", "checkpoints/best.ckpt", "checkpoints/last.ckpt", "checkpoints/last-1.ckpt",
        "checkpoints/last-2.ckpt", "config.json", "curves.png", "metrics.csv", "predictions.png", "provenance.json",
        "results.json", "settings.yaml", "weights.safetensors",
    }  # fmt: skip


def test_the_weights_rebuild_the_model_and_score_the_same(finished, images):
    model = sf.from_pretrained(finished.run)
    assert not model.training
    assert (model.config["dim"], model.num_classes, model.in_channels) == (16, 3, 3)
    settings = read_checkpoint(finished.weights).settings
    assert settings["classes"] == ["left", "right", "top"]
    assert settings["preprocess"]["image_size"] == 16
    assert settings["version"] == sf.__version__
    sets = load_images(str(images), validation=0)
    test = sets.prepared(sets.test, settings["preprocess"], {})
    assert evaluate(model, eval_loader(test, 12, 0)) == finished.test


def test_the_card_tells_what_came_out(finished):
    card = (finished.run / "README.md").read_text()
    assert f"| accuracy, measured | {finished.test.top1:.2f} % of 12 test images |" in card
    assert read_checkpoint(finished.run).settings == json.loads((finished.run / "config.json").read_text())


def test_one_row_an_epoch(finished, rows_of):
    rows = rows_of(finished.run)
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert list(rows[0]) == [
        "epoch", "lr", "loss", "acc", "val_loss", "val_acc", "test_loss", "test_acc",
        "firing/stem", "firing/position", "firing/blocks.0", "seconds",
    ]  # fmt: skip
    for row in rows:
        assert 0 <= float(row["val_acc"]) <= 100
        assert all(0 < float(row[column]) < 1 for column in row if column.startswith("firing/"))


def test_cells_of_an_epoch_that_was_not_evaluated_are_empty(train, rows_of):
    result = train(epochs=5, trainer={"check_val_every_n_epoch": 2}, data={"test_each_epoch": True})
    rows = rows_of(result.run)
    for what in ("val_acc", "val_loss", "test_acc", "test_loss"):
        assert [bool(row.get(what)) for row in rows] == [False, True, False, True, False]
    assert all(row["acc"] for row in rows)
    assert result.epoch in (2, 4)


def as_before_0_4(run):
    """Has a run's table count epochs from 0, as 0.3 did."""
    with (run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    with (run / "metrics.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, "epoch": int(row["epoch"]) - 1} for row in rows)


def test_tables_that_count_from_0_are_read_and_gone_on_with_as_they_were_meant(train, tmp_path, rows_of):
    whole = rows_of(train("whole", epochs=3).run)
    step = TrainingModule.training_step

    def interrupted(self, batch, batch_idx):
        if (self.current_epoch, batch_idx) == (2, 0):
            raise KeyboardInterrupt
        return step(self, batch, batch_idx)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(TrainingModule, "training_step", interrupted)
        train("cut", epochs=3)
    as_before_0_4(tmp_path / "cut")
    assert [row["epoch"] for row in read_metrics(tmp_path / "cut" / "metrics.csv")] == ["1", "2"]
    rows = rows_of(train("cut", epochs=3, resume=True).run)
    told = [[{key: row[key] for key in ("epoch", "val_loss", "acc")} for row in of] for of in (rows, whole)]
    assert told[0] == told[1]
    assert read_metrics(tmp_path / "nowhere" / "metrics.csv") == []


def test_epochs_count_from_1_in_the_bar_and_in_tensorboard(finished, capsys, recipe_file, tmp_path):
    events = EventAccumulator(str(finished.run / "tensorboard")).Reload()
    assert {scalar.value for scalar in events.Scalars("epoch")} == {1.0, 2.0, 3.0}
    bar = ProgressBar()
    bar._trainer = SimpleNamespace(max_epochs=3, sanity_checking=False)
    assert bar._get_train_description(0).split() == ["Epoch", "1/3"]
    assert bar._get_train_description(2).split() == ["Epoch", "3/3"]


def test_a_cool_down_is_announced_and_counted(train, caplog):
    result = train(epochs=2, schedule={"cooldown_epochs": 1})
    said = "2 epochs and 1 of cool-down, 3 in all; --schedule.cooldown_epochs 0 skips the cool-down"
    assert caplog.messages.count(said) == 1
    assert len(read_metrics(result.run / "metrics.csv")) == 3
    caplog.clear()
    train("without", epochs=2)
    assert "cool-down" not in caplog.text


@pytest.mark.parametrize(
    ("changes", "loss", "accuracy"),
    [
        ({}, "training", "training"),
        ({"label_smoothing": 0.1}, "training, of smoothed labels", "training"),
        ({"augment": {"hflip": 0.5}}, *["training, of augmented images"] * 2),
        (
            {"label_smoothing": 0.1, "augment": {"rand_augment": "rand-m4-n1", "mixup": 0.2}},
            "training, of smoothed labels,\nof augmented, mixed images",
            "training, of augmented, mixed images",
        ),
        ({"augment": {"rand_augment_ops": ["Rotate"], "erase_mode": "rand"}}, "training", "training"),  # change nothing
    ],
)
def test_curves_say_what_training_is_measured_on(finished, recipe_file, tmp_path, monkeypatch, changes, loss, accuracy):
    drawn = []
    monkeypatch.setattr(pictures, "save", lambda figure, *_, **__: drawn.append(figure))
    recipe = read_recipe(recipe_file, changes)
    pictures.draw_curves(finished.run / "metrics.csv", tmp_path / "curves.png", "title", recipe)
    losses, accuracies, _ = drawn[0].axes
    for axis, said in ((losses, loss), (accuracies, accuracy)):
        labels = [text.get_text() for text in axis.get_legend().get_texts()]
        assert labels == [said, "validation", "test, not used for selection"]
        assert [[*line.get_xdata()] for line in axis.lines] == [[1, 2, 3]] * 3


def test_no_legend_covers_a_curve(finished, recipe_file, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(pictures, "save", lambda figure, *_, **__: drawn.append(figure))
    pictures.draw_curves(finished.run / "metrics.csv", tmp_path / "curves.png", "title", read_recipe(recipe_file))
    (figure,) = drawn
    figure.canvas.draw()
    assert len(figure.axes[2].lines) == len(figure.axes[2].get_legend().get_texts()) >= 2  # firing rates
    for axis in figure.axes:
        assert not axis.get_legend().get_window_extent().overlaps(axis.get_window_extent())


def test_predictions_show_every_class_in_turn():
    assert of_every_class([0] * 9 + [1] * 2 + [2] * 5, 6) == [0, 9, 11, 1, 10, 12]
    assert of_every_class([0, 0, 1], 32) == [0, 2, 1]
    shown = of_every_class([k for k in range(101) for _ in range(20)], 101)
    assert shown == [20 * k for k in range(101)]


def test_the_firing_rates_in_the_table_are_the_models(train, rows_of, monkeypatch):
    """A step that fires at will, once: the rate of the one batch that was read."""
    read = []
    step = TrainingModule.training_step

    def training_step(self, batch, batch_idx):
        loss = step(self, batch, batch_idx)
        with FiringRates(self.model) as rates, torch.no_grad():
            self.model(batch[0])
        read.append(rates.by_block())
        return loss

    monkeypatch.setattr(TrainingModule, "training_step", training_step)
    (row,) = rows_of(train(trainer={"limit_train_batches": 1}).run)
    assert {key: float(row[f"firing/{key}"]) for key in read[0]} == pytest.approx(read[0], rel=1e-4)


def test_results(finished, rows_of):
    results = json.loads((finished.run / "results.json").read_text())
    rows = rows_of(finished.run)
    validated = [(float(row["val_acc"]), -float(row["val_loss"])) for row in rows]  # rounded: several may be the best
    assert validated[results["epoch"] - 1] == max(validated)
    assert results == {
        "test": vars(finished.test),
        "epoch": finished.epoch,
        "best_on_test": max(float(row["test_acc"]) for row in rows),
    }
    assert (finished.epoch, finished.best_on_test) == (results["epoch"], results["best_on_test"])
    assert finished.test.images == 12


def test_the_pictures_show_something(finished):
    curves = np.asarray(Image.open(finished.run / "curves.png").convert("RGB"))
    for third in np.array_split(curves, 3, axis=1):  # loss, accuracy, firing rate
        assert len(np.unique(third.reshape(-1, 3), axis=0)) > 20
    grid = np.asarray(Image.open(finished.run / "predictions.png").convert("RGB"))
    for eighth in np.array_split(grid[grid.shape[0] // 3 :], 8, axis=1)[:4]:  # 12 images, 8 across
        assert len(np.unique(eighth.reshape(-1, 3), axis=0)) > 200


def test_samples_are_test_images_with_their_label_in_the_name(finished, images):
    classes = ("left", "right", "top")
    test = load_images(str(images), validation=0).test
    for i, place in enumerate((0, 4, 8, 1, 5)):  # four of each class, class after class
        picture, label = test[place]
        assert label == i % 3
        sample = finished.run / "samples" / f"{i + 1}-true-{classes[label]}.png"
        assert np.array_equal(np.asarray(Image.open(sample)), np.asarray(picture))


def test_tensorboard_has_the_curves(finished):
    events = EventAccumulator(str(finished.run / "tensorboard")).Reload()
    assert {"val_acc", "loss_epoch", "firing/blocks.0"} <= set(events.Tags()["scalars"])
    assert len(events.Scalars("val_acc")) == 3


@pytest.fixture
def scripted(monkeypatch):
    """Makes validation accuracy, and loss where given, follow a script, an epoch a number."""

    def scripted(*accuracies, losses=()):
        def validation_step(self, batch, batch_idx, dataloader_idx=0):
            self.log("val_acc", torch.tensor(float(accuracies[self.current_epoch])), batch_size=len(batch[0]))
            if losses:
                self.log("val_loss", torch.tensor(float(losses[self.current_epoch])), batch_size=len(batch[0]))

        monkeypatch.setattr(TrainingModule, "validation_step", validation_step)

    return scripted


def weights_of(checkpoint: Path):
    state = torch.load(checkpoint, weights_only=True)
    return state["epoch"], {key.removeprefix("model."): value for key, value in state["state_dict"].items()}


def test_of_epochs_alike_in_accuracy_the_lowest_loss_is_kept(train, scripted):
    scripted(90, 100, 100, 100, losses=(0.1, 0.4, 0.2, 0.3))
    assert train(epochs=4).epoch == 3


def test_the_best_epoch_on_validation_is_kept_and_the_last_can_be_resumed(train, scripted):
    scripted(10, 90, 50, 90)
    result = train(epochs=4)
    assert result.epoch == 2
    best_epoch, best = weights_of(result.run / "checkpoints" / "best.ckpt")
    last_epoch, last = weights_of(result.run / "checkpoints" / "last.ckpt")
    assert (best_epoch, last_epoch) == (1, 3)
    kept = load_file(result.weights)
    assert all(torch.equal(kept[key], best[key]) for key in best)
    assert not torch.equal(kept["head.linear.weight"], last["head.linear.weight"])


def test_without_validation_the_last_epoch_is_kept(recipe_file, tmp_path, rows_of):
    result = fit(recipe_file, out=str(tmp_path), epochs=2, data={"validation": 0})
    assert result.epoch == 2
    assert "val_acc" not in rows_of(result.run)[0]
    assert not (result.run / "checkpoints" / "best.ckpt").exists()
    kept, (_, last) = load_file(result.weights), weights_of(result.run / "checkpoints" / "last.ckpt")
    assert all(torch.equal(kept[key], last[key]) for key in last)
    assert (result.run / "curves.png").stat().st_size > 1000


def test_a_run_in_a_thread(train):
    """Only the main thread may catch Ctrl-C."""
    results = []
    thread = threading.Thread(target=lambda: results.append(train()))
    thread.start()
    thread.join()
    assert results[0].test.images == 12


def test_class_names_with_spaces_and_of_any_length_and_one_test_image(train, make_images):
    long = "ü" * 126  # 252 bytes of the 255 that a name may have
    folder = make_images(classes=("a b", long), train=20, test=1)
    result = train(data={"name": str(folder)})
    assert result.test.images == 2
    assert {path.name for path in (result.run / "samples").iterdir()} == {"1-true-a b.png", f"2-true-{'ü' * 96}.png"}


# ---- what is said meanwhile


def test_a_line_an_epoch_wherever_it_goes(train, capsys):
    """A log of a run without a terminal is not empty until the end, and tells how long it will take."""
    train(epochs=3)
    out = capsys.readouterr().out.splitlines()
    for epoch, line in enumerate(out, 1):
        assert re.fullmatch(
            rf"epoch {epoch}/3  loss [\d.]+  acc [\d.]+  val_loss [\d.]+  val_acc [\d.]+  \d+ s  \d+ s left", line
        )
    assert len(out) == 3 and out[-1].endswith("  0 s left")
    train("silent", trainer={"enable_progress_bar": False})
    assert capsys.readouterr().out == ""


def test_long_epochs_are_told_of_meanwhile(train, capsys, monkeypatch):
    monkeypatch.setattr("spikeformers.training.trainer.EpochLines", lambda: EpochLines(minutes=0))
    train(epochs=2)
    places = [
        re.findall(r"^epoch (\d)/2 .*?(?:step (\d)/4)?  \d+ s left$", line)
        for line in capsys.readouterr().out.splitlines()
    ]
    assert [place[0] for place in places] == [(e, s) for e in "12" for s in ("1", "2", "3", "")]


def test_a_line_has_no_scores_of_an_earlier_epoch(train, capsys):
    train(epochs=3, trainer={"check_val_every_n_epoch": 2})
    assert ["val_acc" in line for line in capsys.readouterr().out.splitlines()] == [False, True, False]


def test_what_is_left_is_by_the_steps_so_far():
    lines, said = EpochLines(), []
    trainer = SimpleNamespace(max_epochs=10, num_training_batches=100.0, current_epoch=3, callbacks=[])
    lines.began, lines.epoch_began, lines.steps = time.monotonic() - 3600, time.monotonic() - 60, 400
    stdout = SimpleNamespace(write=said.append, flush=lambda: None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", stdout)
        lines._print(trainer, 0, {"loss": 0.5})  # 600 steps are left, of 9 s each
        lines._print(trainer, 50, {"loss": None})
    assert said == ["epoch 4/10  loss 0.5  60 s  1.5 h left\n", "epoch 4/10  step 50/100  1.6 h left\n"]
    assert [duration(seconds) for seconds in (3, 89, 600, 36000)] == ["3 s", "89 s", "10 min", "10.0 h"]


def test_in_a_terminal_each_epoch_keeps_its_line(recipe_file, tmp_path):
    pty = pytest.importorskip("pty")
    words = ["train", recipe_file, "--out", str(tmp_path), "--run", "run", "--epochs", "2"]
    script = f"import torch; torch.set_num_threads(1); from spikeformers import cli; cli.main({words!r})"
    ours, theirs = pty.openpty()
    run = subprocess.Popen(
        [sys.executable, "-c", script], stdout=theirs, stderr=theirs, env={**os.environ, "COLUMNS": "120"}
    )
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # the other end is closed
        while piece := os.read(ours, 65536):
            shown += piece
    assert run.wait() == 0
    text = shown.decode()
    assert "Epoch" in text  # the bar
    for epoch in (1, 2):
        assert re.search(rf"epoch {epoch}/2  loss [\d.]+ .* s left", text)
