"""Kills, signals, damaged files and full disks: what was saved stays whole, and is gone on with."""

import logging
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from spikeformers import cli
from spikeformers.training import fit
from spikeformers.training.checkpoint_file import is_whole
from spikeformers.training.module import TrainingModule


@pytest.fixture
def at_step(monkeypatch):
    """Does something at the start of a training step, given as (epoch, batch)."""
    plans = {}
    training_step = TrainingModule.training_step

    def step(self, batch, batch_idx):
        plans.pop((self.current_epoch, batch_idx), lambda: None)()
        return training_step(self, batch, batch_idx)

    monkeypatch.setattr(TrainingModule, "training_step", step)
    return lambda epoch, batch, action: plans.update({(epoch, batch): action})


def crash():
    raise RuntimeError("crash")


def step_of(file):
    return torch.load(file, weights_only=True)["global_step"]


def same_weights(run, other):
    ours, theirs = (load_file(r / "weights.safetensors") for r in (run, other))
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


# ---- what is kept


def test_the_last_few_are_kept(train):
    folder = train(epochs=4).run / "checkpoints"
    assert {file.name for file in folder.iterdir()} == {"best.ckpt", "last.ckpt", "last-1.ckpt", "last-2.ckpt"}
    assert [step_of(folder / f"last{back}.ckpt") for back in ("", "-1", "-2")] == [16, 12, 8]
    assert all(is_whole(file) for file in folder.iterdir())
    assert {file.name for file in (train("one", epochs=3, keep=0).run / "checkpoints").iterdir()} == {
        "best.ckpt",
        "last.ckpt",
    }


def test_within_an_epoch_too(train, at_step, tmp_path):
    at_step(0, 3, crash)
    with pytest.raises(RuntimeError):
        train(save_minutes=0)
    folder = tmp_path / "run" / "checkpoints"
    assert [step_of(folder / f"last{back}.ckpt") for back in ("", "-1", "-2")] == [3, 2, 1]
    at_step(0, 3, crash)
    with pytest.raises(RuntimeError):
        train("whole epochs", save_minutes=1)
    assert not (tmp_path / "whole epochs").exists()


def cut_short(file):
    file.write_bytes(file.read_bytes()[:1000])


def flip_a_bit(file):
    with zipfile.ZipFile(file) as archive:
        largest = max(archive.infolist(), key=lambda entry: entry.file_size)
    content = bytearray(file.read_bytes())
    content[largest.header_offset + largest.file_size // 2 + 200] ^= 1  # past the name and what aligns the numbers
    file.write_bytes(content)


@pytest.mark.parametrize("damage", [cut_short, flip_a_bit, lambda file: file.unlink()])
def test_a_damaged_last_checkpoint_falls_back_to_the_one_before(train, at_step, tmp_path, caplog, damage):
    whole = train("whole", epochs=2).run
    at_step(1, 2, crash)
    with pytest.raises(RuntimeError):
        train(epochs=2, save_minutes=0)
    folder = tmp_path / "run" / "checkpoints"
    damage(folder / "last.ckpt")
    gone = not (folder / "last.ckpt").exists()
    assert same_weights(train(epochs=2, resume=True).run, whole)
    said = f"{folder}/last.ckpt is damaged: resuming from {folder}/last-1.ckpt"
    assert (said in caplog.text) != gone
    assert (folder / "last.ckpt.damaged").exists() != gone


def test_where_all_are_damaged_it_is_said(train):
    folder = train(epochs=2, keep=1).run / "checkpoints"
    for name in ("last.ckpt", "last-1.ckpt"):
        cut_short(folder / name)
    with pytest.raises(ValueError, match=r"last\.ckpt and all checkpoints before it are damaged: start anew"):
        train(epochs=2, keep=1, resume=True)
    assert (folder / "last.ckpt").is_file()


# ---- full disks

on_linux = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")


@on_linux
def test_a_full_disk_stops_with_the_last_checkpoint_whole(train, at_step, tmp_path):
    folder = tmp_path / "run" / "checkpoints"
    whole = train("whole", epochs=2).run
    at_step(1, 1, lambda: (folder / "new.ckpt.unfinished").symlink_to("/dev/full"))
    with pytest.raises(
        OSError, match=r"last\.ckpt could not be saved \(.*\): make room on its disk, then continue from"
    ):
        train(epochs=2)
    assert all(is_whole(file) for file in folder.iterdir())
    assert step_of(folder / "last.ckpt") == 4
    assert same_weights(train(epochs=2, resume=True).run, whole)


@on_linux
def test_or_goes_on_and_counts(train, at_step, rows_of, tmp_path, caplog):
    folder = tmp_path / "run" / "checkpoints"

    def fill():
        (folder / "new.ckpt.unfinished").symlink_to("/dev/full")
        (folder.parent / "metrics.csv.unfinished").symlink_to("/dev/full")

    def refill():
        (folder / "new.ckpt.unfinished").symlink_to("/dev/full")

    at_step(1, 1, fill)
    at_step(2, 1, refill)
    run = train(epochs=4, stop_if_unsaved=False).run
    assert "training goes on without it (1 checkpoints not saved so far)" in caplog.text
    assert "training goes on without it (2 checkpoints not saved so far)" in caplog.text
    assert [step_of(folder / f"last{back}.ckpt") for back in ("", "-1")] == [16, 4]
    assert "metrics.csv could not be written" in caplog.text
    assert len(rows_of(run)) == 4


@on_linux
@pytest.mark.parametrize("file", ["weights.safetensors", "README.md", "results.json"])
def test_a_full_disk_at_the_end_is_one_line_and_loses_nothing(train, at_step, tmp_path, file, monkeypatch):
    """Also where the library that writes has errors of its own, as that of weights has."""
    unfinished = tmp_path / "run" / f"{file}.unfinished"
    if file == "weights.safetensors":
        writes = ["Error while serializing: I/O error: No space left on device (os error 28)"]

        def save(*args):
            if writes:
                raise SafetensorError(writes.pop())
            save_file(*args)

        monkeypatch.setattr("spikeformers.checkpoints.save.save_file", save)
    else:
        at_step(0, 3, lambda: unfinished.symlink_to("/dev/full"))
    with pytest.raises(
        ValueError, match=r"is trained but has no results yet: fix this first; .* continue with --resume"
    ) as e:
        train()
    assert "\n" not in str(e.value)
    assert not unfinished.is_symlink()
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    before = last.stat().st_mtime_ns
    assert train(resume=True).weights.is_file()
    assert last.stat().st_mtime_ns == before


def test_a_disk_without_room_is_told_before_training(train, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=10_000))
    with pytest.raises(ValueError, match=r"run needs .* MB, and its disk has 0 MB free: make room, or choose another"):
        train()
    assert not (tmp_path / "run").exists()


def test_an_error_nobody_foresaw_ends_the_command_in_one_line(recipe_file, tmp_path, monkeypatch, at_step, capsys):
    at_step(1, 1, crash)
    with pytest.raises(SystemExit) as end:
        cli.main(["train", recipe_file, "--out", str(tmp_path), "--run", "run", "--epochs", "2"])
    said = capsys.readouterr().err.splitlines()
    assert end.value.code == 2
    assert said[-1].startswith("spikeformers: RuntimeError: ")
    assert said[-1].endswith(f"{tmp_path}/run is saved: continue with --resume")
    assert "Traceback" in (tmp_path / "run" / "error.txt").read_text()


# ---- signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_being_terminated_saves_first(train, at_step, tmp_path, caplog, number):
    whole = train("whole", epochs=2).run
    before = signal.getsignal(number)
    at_step(1, 1, lambda: os.kill(os.getpid(), number))
    with pytest.raises(SystemExit) as end:
        train(epochs=2)
    assert end.value.code == 143
    assert signal.getsignal(number) == before
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    assert f"terminated: {last} is saved, continue with --resume" in caplog.text
    assert step_of(last) == 6
    assert same_weights(train(epochs=2, resume=True).run, whole)


def test_the_command_ends_with_143(recipe_file, tmp_path):
    """With a part of the user's own too, which is not to blame."""
    (tmp_path / "own.py").write_text("from spikeformers.neurons import IF\n\nclass Own(IF): pass\n")
    script = f"""
        import os, signal
        from spikeformers import cli
        from spikeformers.training.module import TrainingModule
        training_step = TrainingModule.training_step
        def terminated(self, batch, batch_idx):
            if batch_idx == 1:
                os.kill(os.getpid(), signal.SIGTERM)
            return training_step(self, batch, batch_idx)
        TrainingModule.training_step = terminated
        cli.main(["train", {recipe_file!r}, "--out", {str(tmp_path)!r}, "--run", "cut",
                  "--model.neuron", {f"{tmp_path}/own.py:Own"!r}])
    """
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True)
    last = tmp_path / "cut" / "checkpoints" / "last.ckpt"
    assert run.stderr.splitlines() == [f"terminated: {last} is saved, continue with --resume"]
    assert run.returncode == 143
    assert step_of(last) == 2


# ---- killed

DIGITS = {
    "model": {"dim": 16, "depth": 1, "num_heads": 2, "time_steps": 2},
    "augment": {"mixup": 0.5, "erase": 0.3},
    "model.drop_path": 0.2,
    "ema_decay": 0.9,
    "epochs": 4,
    "batch_size": 128,
    "schedule": {"warmup_epochs": 1},
    "trainer": {"enable_progress_bar": False},
}


def run_digits(out, run, settings):
    torch.set_num_threads(1)
    logging.disable()
    fit("digits", out=str(out), run=run, resume=True, **DIGITS, **settings)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_killed_at_thirty_moments(tmp_path):
    """SIGKILL at any time in a run's life, up to three times, in three settings: the weights are those of the run that
    was left alone. Figures are logged: pytest -m slow --log-cli-level WARNING."""
    fork, draw = multiprocessing.get_context("fork"), random.Random(0)
    ways: dict = {"each update": {"save_minutes": 0}, "each epoch": {}}
    ways["loading processes"] = {"data.workers": 2, "save_minutes": 0}
    lasts = {}

    def start(run, settings):
        process = fork.Process(target=run_digits, args=(tmp_path, run, settings))
        process.start()
        return process

    for way, settings in ways.items():
        begun = time.monotonic()
        process = start(way, settings)
        process.join()
        assert process.exitcode == 0
        lasts[way] = time.monotonic() - begun
    exact = killed = 0
    for i in range(30):
        way = list(ways)[i % 3]
        for _ in range(draw.randint(1, 3)):
            process = start(f"cut {i}", ways[way])
            process.join(draw.uniform(0, lasts[way]))
            killed += process.is_alive()
            process.kill()
            process.join()
        process = start(f"cut {i}", ways[way])
        process.join()
        assert process.exitcode == 0
        exact += same_weights(tmp_path / f"cut {i}", tmp_path / way)
    logging.getLogger("spikeformers").warning(
        f"{exact} of 30 runs, killed {killed} times, ended with the weights of a run left alone"
    )
    assert exact == 30 and killed >= 30
