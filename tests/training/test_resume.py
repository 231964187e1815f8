"""Interruption and resumption: a run that was cut in two ends with the weights of one that was not, bit for bit."""

import inspect
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap

import lightning.pytorch as pl
import pytest
import torch
from safetensors.torch import load_file

from spikeformers.checkpoints import read_checkpoint
from spikeformers.evaluation.test_set import TestSet
from spikeformers.training import checkpoints, fit
from spikeformers.training.module import TrainingModule
from spikeformers.training.recipe_fields import recipe_fields
from spikeformers.training.resume import _TRAINS, MAY_CHANGE

# All that is drawn at random, and all that a checkpoint has to carry.
LIVELY = {
    "epochs": 3,
    "augment": {"hflip": 0.5, "crop_scale": [0.5, 1.0], "rand_augment": "rand-m5-n1", "erase": 0.5, "mixup": 0.5},
    "model.drop_path": 0.3,
    "ema_decay": 0.9,
    "ema_warmup": True,
    "label_smoothing": 0.1,
    "schedule": {"warmup_epochs": 1},
}


class Crash(Exception):
    pass


@pytest.fixture
def at_step(monkeypatch):
    """Does something at the start of a step, given as (epoch, batch), of training or validation; lists the steps."""
    steps, plans = [], {}

    def watched(name):
        method = getattr(TrainingModule, name)

        def step(self, batch, batch_idx, *more):
            if not self.trainer.sanity_checking:
                steps.append((name, self.current_epoch, batch_idx))
                plans.pop(steps[-1], lambda: None)()
            return method(self, batch, batch_idx, *more)

        monkeypatch.setattr(TrainingModule, name, step)

    watched("training_step")
    watched("validation_step")

    def at_step(epoch, batch, action, name="training_step"):
        steps.clear()
        plans[name, epoch, batch] = action
        return steps

    return at_step


def ctrl_c():
    os.kill(os.getpid(), signal.SIGINT)


def crash():
    raise Crash


def trained(steps):
    return [(epoch, batch) for name, epoch, batch in steps if name == "training_step"]


def state_of(run, name="last"):
    return torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True)


def same(a, b):
    """Whether two nests of dicts, lists and tensors are equal to the bit."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


def check_same_run(whole, cut):
    for name in ("last", "best"):
        a, b = state_of(whole, name), state_of(cut, name)
        assert a["state_dict"]
        for part in ("epoch", "global_step", "state_dict", "optimizer_states", "lr_schedulers"):
            assert same(a[part], b[part]), (name, part)
    assert (whole / "results.json").read_text() == (cut / "results.json").read_text()


def check_same_rows(whole, cut, halved=None):
    """An epoch that was cut in two has the training means and firing rates of its second part."""
    assert len(whole) == len(cut)
    for row, other in zip(whole, cut, strict=True):
        mean = {"seconds"}
        if halved is not None and int(row["epoch"]) == halved + 1:
            mean |= {key for key in row if key in ("loss", "acc") or key.startswith("firing/")}
        assert row.keys() == other.keys()
        assert all(other.values())
        assert {k: v for k, v in row.items() if k not in mean} == {k: v for k, v in other.items() if k not in mean}


@pytest.fixture(scope="module")
def whole(recipe_file, tmp_path_factory):
    """The run that nothing interrupts."""
    return fit(recipe_file, out=str(tmp_path_factory.mktemp("whole")), run="whole", **LIVELY).run


@pytest.mark.parametrize(("moment", "workers"), [((0, 0), 0), ((0, 0), 2), ((1, 1), 0)])
def test_ctrl_c_within_an_epoch(train, whole, at_step, rows_of, tmp_path, moment, workers):
    epoch, batch = moment
    before = signal.getsignal(signal.SIGINT)
    at_step(epoch, batch, ctrl_c)
    with pytest.raises(KeyboardInterrupt, match=r"interrupted: .*/cut/checkpoints/last\.ckpt is saved, .* --resume"):
        train("cut", **LIVELY, **{"data.workers": workers})
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler is before
    assert not (tmp_path / "cut" / "weights.safetensors").exists()
    assert state_of(tmp_path / "cut")["global_step"] == 4 * epoch + batch + 1
    with pytest.raises(FileNotFoundError, match=r"its run is not finished, give ") as refused:
        read_checkpoint(tmp_path / "cut")
    assert read_checkpoint(str(refused.value).rpartition("give ")[2]).weights

    steps = at_step(9, 9, crash)
    train("cut", **LIVELY, **{"data.workers": workers}, resume=True)
    assert trained(steps) == [(e, b) for e in range(3) for b in range(4) if (e, b) > moment]
    check_same_run(whole, tmp_path / "cut")
    check_same_rows(rows_of(whole), rows_of(tmp_path / "cut"), halved=epoch)


@pytest.mark.parametrize(
    ("name", "epoch", "batch", "next_step"),
    [("training_step", 1, 3, 0), ("validation_step", 1, 0, 0), ("training_step", 2, 0, 1)],
    ids=["last step", "validation", "first step"],
)
def test_ctrl_c_around_an_epochs_end(train, whole, at_step, rows_of, tmp_path, name, epoch, batch, next_step):
    """After the last step come validation and a checkpoint: it stops before the first step of the next epoch."""
    at_step(epoch, batch, ctrl_c, name)
    with pytest.raises(KeyboardInterrupt):
        train("cut", **LIVELY)
    assert [row["epoch"] for row in rows_of(tmp_path / "cut")] == ["1", "2"]
    steps = at_step(9, 9, crash)
    train("cut", **LIVELY, resume=True)
    assert trained(steps) == [(2, 0), (2, 1), (2, 2), (2, 3)][next_step:]
    check_same_run(whole, tmp_path / "cut")
    check_same_rows(rows_of(whole), rows_of(tmp_path / "cut"), halved=2 if next_step else None)


def test_ctrl_c_in_the_last_validation_leaves_the_test_to_do(train, whole, at_step, tmp_path):
    at_step(2, 0, ctrl_c, "validation_step")
    with pytest.raises(KeyboardInterrupt, match=r"last\.ckpt is saved"):
        train("late", **LIVELY)
    assert not (tmp_path / "late" / "results.json").exists()
    steps = at_step(9, 9, crash)
    train("late", **LIVELY, resume=True)
    assert trained(steps) == []
    check_same_run(whole, tmp_path / "late")


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_run_whose_time_is_over_within_an_epoch_goes_on_to_the_bit(
    train, at_step, rows_of, tmp_path, monkeypatch, accumulate
):
    """The epoch that was cut short is trained to its end, and the rate follows."""
    settings = {**LIVELY, "accumulate": accumulate}
    whole, passed = train("whole", **settings).run, []
    monkeypatch.setattr(pl.callbacks.Timer, "time_elapsed", lambda *_: 60.0 * len(passed))
    at_step(1, 0, lambda: passed.append(1))
    train("cut", **settings, **{"trainer.max_time": "00:00:01:00"})
    assert state_of(tmp_path / "cut")["global_step"] == 4 // accumulate + 1  # the steps of an update go together
    assert state_of(tmp_path / "cut", "best")["global_step"] == 4 // accumulate  # of a whole epoch
    steps = at_step(9, 9, crash)
    train("cut", **settings, resume=True)
    assert trained(steps)[0] == (1, accumulate)
    check_same_run(whole, tmp_path / "cut")
    check_same_rows(rows_of(whole), rows_of(tmp_path / "cut"), halved=1)


def test_max_time_is_that_of_a_process(train, at_step, tmp_path, monkeypatch):
    """So a job that is run again with the same settings goes on, as with SLURM."""
    whole, passed = train("whole", **LIVELY).run, []
    monkeypatch.setattr(pl.callbacks.Timer, "time_elapsed", lambda timer, *_: timer._offset + 60.0 * len(passed))
    at_step(1, 0, lambda: passed.append(1))
    limited = {**LIVELY, "trainer.max_time": "00:00:01:00"}
    train("cut", **limited)
    passed.clear()
    train("cut", **limited, resume=True)
    check_same_run(whole, tmp_path / "cut")


def test_ctrl_c_where_an_epoch_is_one_step(train, at_step, tmp_path):
    at_step(1, 0, ctrl_c)
    short = {"epochs": 3, "trainer": {"limit_train_batches": 1}}
    with pytest.raises(KeyboardInterrupt, match=r"last\.ckpt is saved"):
        train("short", **short)
    steps = at_step(9, 9, crash)
    train("short", **short, resume=True)
    assert trained(steps) == [(2, 0)]


def test_ctrl_c_twice(train, whole, at_step, rows_of, tmp_path):
    """The second does not wait for the step: the checkpoint is that of the epoch before."""
    at_step(1, 2, lambda: (ctrl_c(), ctrl_c()))
    with pytest.raises(KeyboardInterrupt, match=r"last\.ckpt is saved"):
        train("cut", **LIVELY)
    steps = at_step(9, 9, crash)
    train("cut", **LIVELY, resume=True)
    assert trained(steps)[0] == (1, 0)
    check_same_run(whole, tmp_path / "cut")
    check_same_rows(rows_of(whole), rows_of(tmp_path / "cut"))


def test_ctrl_c_twice_before_anything_is_saved_leaves_nothing(train, at_step, tmp_path):
    at_step(0, 1, lambda: (ctrl_c(), ctrl_c()))
    with pytest.raises(KeyboardInterrupt, match="interrupted: nothing was saved yet"):
        train("cut")
    assert not (tmp_path / "cut").exists()


def test_a_crash_goes_on_from_the_last_whole_epoch(train, whole, at_step, rows_of, tmp_path):
    at_step(1, 2, crash)
    with pytest.raises(Crash):
        train("cut", **LIVELY)
    steps = at_step(9, 9, crash)
    train("cut", **LIVELY, resume=True)
    assert trained(steps)[0] == (1, 0)
    check_same_run(whole, tmp_path / "cut")
    check_same_rows(rows_of(whole), rows_of(tmp_path / "cut"))


@pytest.mark.parametrize(
    "changes",
    [
        {"accumulate": 2, "batch_size": 6, "clip_grad_norm": 0.5},
        {"trainer": {"limit_train_batches": 3}, "schedule": {"per_update": True}},
        {"precision": "bf16-mixed", "data": {"validation": 0.36}},  # 13 in each class: 39 images, 3 batches and 3 over
    ],
    ids=["accumulating", "by update, limited", "bfloat16, images over"],
)
def test_other_settings(train, at_step, tmp_path, changes, monkeypatch):
    monkeypatch.setattr("spikeformers.training.precision.bf16_is_fast", lambda: True)
    settings = {"epochs": 2, "augment": {"mixup": 0.5}, **changes}
    whole = train("whole", **settings).run
    at_step(0, 1, ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        train("cut", **settings)
    at_step(1, 1, crash)
    with pytest.raises(Crash):
        train("cut", **settings, resume=True)
    train("cut", **settings, resume=True)
    check_same_run(whole, tmp_path / "cut")


def test_a_finished_run_only_writes_its_results_again(train, whole, at_step, rows_of, tmp_path):
    run = shutil.copytree(whole, tmp_path / "again")
    (run / "weights.safetensors").unlink()
    steps = at_step(9, 9, crash)
    result = train("again", **LIVELY, resume=True)
    assert steps == []
    assert rows_of(run) == rows_of(whole)
    kept, before = load_file(result.weights), load_file(whole / "weights.safetensors")
    assert same(kept, before)


def test_resuming_what_does_not_exist_starts_it(train, tmp_path):
    assert train("new", resume=True).run == tmp_path / "new"


def test_a_folder_that_was_there_is_never_removed(train, at_step, tmp_path):
    """A run whose checkpoints were thrown away begins anew, and what else lies in its folder stays."""
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "notes.txt").write_text("mine")
    at_step(0, 1, crash)
    with pytest.raises(Crash):
        train("cut", resume=True)
    assert (tmp_path / "cut" / "notes.txt").read_text() == "mine"


def test_a_run_whose_folder_moved_keeps_its_best_epoch(train, at_step, tmp_path, monkeypatch):
    scores = iter((10, 90, 50, 60))

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        self.log("val_acc", torch.tensor(float(next(scores))), batch_size=len(batch[0]))

    monkeypatch.setattr(TrainingModule, "validation_step", validation_step)
    at_step(3, 1, crash)
    with pytest.raises(Crash):
        train("here", epochs=4)
    (tmp_path / "here").rename(tmp_path / "there")
    assert train("there", epochs=4, resume=True).epoch == 2


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model.dim": 32}, "model.dim is 32, but .*run began with 16: resume with the run's own settings"),
        ({"model.neuron": "PLIF"}, "model.neuron is PLIF, but .*run began with None"),
        ({"optimizer.name": "sgd"}, "optimizer.name is sgd, but .*run began with adamw"),
        ({"epochs": 2}, "epochs is 2, but .*run began with 3"),
        ({"trainer": {"limit_train_batches": 2}}, "trainer.limit_train_batches is 2, but .*run began with None"),
        ({"trainer": {"check_val_every_n_epoch": 2}}, "trainer.check_val_every_n_epoch is 2, but"),
        ({"ema_decay": 0.9}, "ema_decay is 0.9, but .*run began with None"),
    ],
)
def test_a_run_does_not_go_on_with_other_settings(finished, tmp_path, changes, said, train):
    run = shutil.copytree(finished.run, tmp_path / "run")
    changes = {"epochs": 3, "data.test_each_epoch": True, **changes}
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match=said):
        train(**changes, resume=True)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_step_that_needs_too_much_memory_is_gone_on_with_lean(train, whole, at_step, tmp_path):
    """What the message tells to do is what the next command takes, and the run is the run."""
    assert LIVELY["epochs"] == 3

    def too_much():
        raise torch.OutOfMemoryError("out of memory")

    with pytest.raises(ValueError, match=r"^there is not enough memory: add --memory lean, or lower batch_size$"):
        at_step(0, 0, too_much)
        train("cut", **LIVELY)
    at_step(1, 1, too_much)
    with pytest.raises(ValueError, match=r"with --resume --memory lean, or lower batch_size in another --run NAME$"):
        train("cut", **LIVELY)
    at_step(2, 1, too_much)
    with pytest.raises(
        ValueError, match=r": lower batch_size in another --run NAME, or --resume on a device with more"
    ):
        train("cut", **LIVELY, memory="lean", resume=True)
    train("cut", **LIVELY, memory="lean", resume=True)
    for name, weight in state_of(whole)["state_dict"].items():
        torch.testing.assert_close(state_of(tmp_path / "cut")["state_dict"][name], weight, rtol=1e-4, atol=1e-5)


def test_a_run_goes_on_elsewhere_with_other_readers(train, whole, at_step, images, tmp_path):
    """What cannot change the result may be another: the weights are those of the run that nothing interrupted."""
    at_step(1, 1, ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        train("cut", **LIVELY)
    moved = shutil.copytree(images, tmp_path / "moved")
    (moved / "test" / "left" / "0.png").write_text("no image")  # which nothing was trained on
    data = {"name": str(moved), "workers": 2, "skip_broken": True, "cache": None}
    trainer = {"log_every_n_steps": 1, "enable_progress_bar": False, "max_time": "00:01:00:00"}
    steps = at_step(9, 9, crash)
    run = train("cut", **LIVELY, data=data, trainer=trainer, save_minutes=0, keep=0, profile_every=0, resume=True).run
    assert trained(steps) == [(1, 2), (1, 3), (2, 0), (2, 1), (2, 2), (2, 3)]
    for part in ("epoch", "global_step", "state_dict", "optimizer_states"):
        assert same(state_of(whole)[part], state_of(run)[part]), part
    assert json.loads((run / "results.json").read_text())["test"]["images"] == 11


@pytest.mark.parametrize("change", ["renamed", "one less", "skipped"])
def test_other_files_are_other_data(finished, images, tmp_path, train, change):
    run = shutil.copytree(finished.run, tmp_path / "run")
    moved = shutil.copytree(images, tmp_path / "moved")
    data = {"name": str(moved), "test_each_epoch": True}
    file = moved / "train" / "left" / "0.png"
    if change == "renamed":
        file.rename(file.with_name("00.png"))
    elif change == "one less":
        file.unlink()
    else:
        file.write_text("no image")
        data["skip_broken"] = True
    with pytest.raises(ValueError, match=r"data\.(name|skip_broken) is .*, but .*run began with"):
        train("run", epochs=3, data=data, resume=True)
    assert run.is_dir()


def test_a_broken_test_image_met_at_the_end(train, make_images, at_step, tmp_path):
    """The remedy that is told is one that the next command takes, and nothing is trained again."""
    folder = make_images()
    broken = folder / "test" / "top" / "3.png"
    cut = broken.read_bytes()[:-200]
    at_step(0, 2, lambda: broken.write_bytes(cut))  # it was whole when the run began
    with pytest.raises(ValueError, match=r"skip_broken true.* is trained but has no results yet: .* --resume"):
        train(data={"name": str(folder)})
    before = (tmp_path / "run" / "checkpoints" / "last.ckpt").stat().st_mtime_ns
    assert train(data={"name": str(folder), "skip_broken": True}, resume=True).test.images == 11
    settings = read_checkpoint(tmp_path / "run").settings
    assert len(TestSet("run", settings, workers=0).sets.test) == 11  # analyze and export pass over it too
    assert len(TestSet("run", settings, workers=0, skip_broken=False).sets.test) == 12
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").stat().st_mtime_ns == before


@pytest.mark.parametrize("per_update", [False, True])
def test_more_epochs_go_on_by_the_longer_schedule(train, at_step, rows_of, caplog, tmp_path, per_update):
    schedule = {"per_update": per_update, "min_lr": 1e-4}
    whole = rows_of(train("whole", epochs=5, schedule=schedule).run)
    run = train(epochs=2, schedule=schedule).run
    steps = at_step(9, 9, crash)
    train(epochs=5, schedule=schedule, resume=True)
    assert {epoch for epoch, _ in trained(steps)} == {2, 3, 4}
    assert [row["lr"] for row in rows_of(run)][2:] == [row["lr"] for row in whole][2:]
    assert "epochs changed from 2 to 5: from epoch 3 on the rate follows the cosine schedule of 5 epochs" in caplog.text
    with pytest.raises(ValueError, match=r"epochs is 4, but .* began with 5"):
        train(epochs=4, schedule=schedule, resume=True)


def test_the_table_of_what_may_change_names_fields():
    _, open_groups, plain = recipe_fields()
    assert {*MAY_CHANGE} <= plain | open_groups
    assert set(_TRAINS) <= set(inspect.signature(pl.Trainer.__init__).parameters)


def test_a_run_that_is_at_work_is_not_gone_on_with(train, at_step, tmp_path):
    """Neither by --resume nor by a new start, and it is not disturbed."""
    said = []

    def meanwhile():
        for resume in (True, False):
            with pytest.raises(ValueError) as error:
                train(resume=resume)
            said.append(str(error.value))

    at_step(0, 1, meanwhile)
    assert train().test.images == 12
    assert (
        "another process is training in" in said[0] and "wait until it ends, or name another run with --run" in said[0]
    )
    assert "exists: continue it with --resume" in said[1]


def test_ctrl_c_in_a_terminal_reaches_the_loading_processes_too(recipe_file, tmp_path):
    """A terminal interrupts the whole process group; the workers go on, for the step and the checkpoint need them."""
    script = f"""
        import os, signal
        from spikeformers import cli
        from spikeformers.training.module import TrainingModule
        validation_step = TrainingModule.validation_step
        def interrupted(self, batch, batch_idx):
            if (self.current_epoch, batch_idx) == (0, 0):
                os.killpg(0, signal.SIGINT)
            return validation_step(self, batch, batch_idx)
        TrainingModule.validation_step = interrupted
        words = ["train", {recipe_file!r}, "--out", {str(tmp_path)!r}, "--run", "cut", "--epochs", "2"]
        cli.main([*words, "--data.workers", "2", "--batch_size", "4"])
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, start_new_session=True
    )
    last = tmp_path / "cut" / "checkpoints" / "last.ckpt"
    said = [line for line in run.stderr.splitlines() if "never fires" not in line]  # which the tiny model may
    assert said == [f"spikeformers: interrupted: {last} is saved, continue with --resume"]
    assert run.returncode == 130
    assert state_of(tmp_path / "cut")["global_step"] == 12  # it stops where the epoch has ended


def test_a_run_resumes_without_the_weights_that_it_started_from(train, finished, tmp_path):
    first = shutil.copytree(finished.run, tmp_path / "first")
    changes = {"start_from": str(first), "start_needed": "those of the first run"}
    train("second", **changes)
    shutil.rmtree(first)
    assert train("second", **changes, epochs=2, resume=True).run == tmp_path / "second"
    with pytest.raises(FileNotFoundError, match="first"):
        train("third", **changes, resume=True)


def test_another_number_of_processes_is_refused(train, tmp_path):
    train("one")
    two = {"accelerator": "cpu", "devices": 2}
    with pytest.raises(
        ValueError, match=r"last\.ckpt is from a run with 1 process\(es\), but this one has 2: set"
    ) as told:
        train("one", epochs=2, trainer=two, oversubscribe=True, resume=True)
    remedy = str(told.value).partition("--start_from ")[2].partition(" --run")[0]
    assert train("other", start_from=remedy).run == tmp_path / "other"


def test_ctrl_c_while_checkpoints_change_their_names(train, monkeypatch, tmp_path):
    """The run's folder stays, and the checkpoint before is resumed from."""
    plain, times = checkpoints.shift, []

    def shift(*given):
        plain(*given)
        times.append(given)
        if len(times) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints, "shift", shift)
    with pytest.raises(KeyboardInterrupt):
        train("cut", epochs=3)
    monkeypatch.setattr(checkpoints, "shift", plain)
    assert not (tmp_path / "cut" / "checkpoints" / "last.ckpt").exists()
    train("cut", epochs=3, resume=True)
    check_same_run(train("whole", epochs=3).run, tmp_path / "cut")
