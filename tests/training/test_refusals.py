"""Settings and data that do not fit, and losses that are not finite: one line, and nothing half-written."""

import logging
import math
import multiprocessing
from datetime import date

import pytest
import torch
from PIL import Image

from spikeformers.compare import plan_comparison
from spikeformers.data import load_images
from spikeformers.training import fit, read_recipe, results
from spikeformers.training.module import TrainingModule
from spikeformers.training.resume import check_same_settings
from spikeformers.training.trainer import check_trainer


@pytest.fixture
def refused(train, tmp_path):
    """What a recipe is refused with; nothing is left behind."""

    def refused(kind=ValueError, **changes):
        before = set(tmp_path.iterdir())
        with pytest.raises(kind) as error:
            train(**changes)
        assert set(tmp_path.iterdir()) == before
        assert "\n" not in str(error.value)
        return str(error.value)

    return refused


# ---- settings


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": "spikformer_8_51"}, "there is no model 'spikformer_8_51': did you mean spikformer_8_512"),
        ({"model.width": 3}, "spikformer takes no 'width': did you mean"),
        ({"model.dim": "wide"}, "dim must be int, not 'wide'"),
        ({"model.neuron": "LIFF"}, "there is no neuron 'LIFF': did you mean LIF"),
        ({"model.num_heads": 3}, "dim 16 is not a multiple of num_heads 3"),
        ({"model.image_size": 18}, "an image of 18 x 18 is not a multiple of the stem's stride 4"),
        ({"model.num_classes": 5}, "model.num_classes is 5, but "),
        ({"model.in_channels": 1}, "model.in_channels is 1, but "),
        ({"optimizer.name": "adamww"}, "timm has no optimizer.name 'adamww'"),
        ({"optimizer.args": {"beta": 1}}, "optimizer.args {'beta': 1} do not suit adamw"),
        ({"schedule.name": "cosin"}, "schedule.name 'cosin' is not one of cosine"),
        ({"schedule.warmup_epochs": 1}, "schedule.warmup_epochs 1 is not below epochs 1"),
        ({"augment.rand_augment": "rand-m9-x1"}, "rand_augment 'rand-m9-x1' is not of the form"),
        ({"augment.hflip": 2}, "augment.hflip 2.0 is not in [0, 1]: it is a probability"),
        ({"data.mean": [0.5]}, "data.mean has 1 numbers"),
        ({"data.interpolation": "cubic"}, "interpolation 'cubic' is not known; did you mean bicubic"),
        ({"data.validation": 1}, "data.validation 1.0 is not in [0, 1): 0.1 cuts a tenth"),
        ({"batch_size": 64}, "training images, fewer than batch_size 64: lower batch_size"),
        ({"precision": "16-mixed", "trainer": {"accelerator": "cpu"}}, "precision 16-mixed needs a GPU"),
        ({"trainer.device": 2}, "Lightning's Trainer takes no 'device': did you mean devices"),
        ({"trainer.max_epochs": 2}, "a recipe cannot set trainer.max_epochs: set epochs instead"),
        ({"trainer.fast_dev_run": True}, "a recipe cannot set trainer.fast_dev_run: leave it out"),
        ({"trainer.strategy": "dpp"}, "trainer {'strategy': 'dpp'} is refused by Lightning"),
        ({"trainer.accelerator": "abacus"}, "trainer {'accelerator': 'abacus'} is refused by Lightning"),
        ({"trainer": {"accelerator": "cpu", "devices": 0}}, "is refused by Lightning"),
        ({"trainer.limit_train_batches": 2.5}, "is refused by Lightning"),
        ({"trainer.val_check_interval": 0.5}, "a recipe cannot set trainer.val_check_interval: leave it out"),
        ({"trainer.overfit_batches": 4}, "cannot set trainer.overfit_batches: set trainer.limit_train_batches instead"),
        ({"trainer.max_time": -3}, "trainer.max_time must be"),
        ({"trainer.profiler": [None]}, "trainer.profiler must be Profiler or str or null, not [None]"),
        ({"trainer.detect_anomaly": -2}, "trainer.detect_anomaly must be true or false, not -2"),
        ({"trainer.log_every_n_steps": {}}, "trainer.log_every_n_steps must be int or null, not {}"),
        ({"trainer.max_time": {}}, "leaves no step of training: raise what limits it"),
        ({"trainer.limit_train_batches": 0}, "leaves no step of training: raise what limits it"),
        ({"trainer.limit_train_batches": 0.01}, "leaves no step of training: raise what limits it"),
        ({"trainer.max_steps": 9}, "cannot set trainer.max_steps: set epochs and trainer.limit_train_batches instead"),
        ({"trainer.num_nodes": 2}, "trainer.num_nodes 2 needs other machines, but their addresses are not set"),
        ({"trainer.max_time": date(2000, 1, 1)}, "which a settings file cannot store"),
        ({"optimizer.args": {"foreach": b"x"}}, "optimizer.args has b'x' in it, which a settings file cannot store"),
        ({"optimizer.args": {"betas": []}}, "optimizer.args {'betas': []} do not suit adamw: IndexError"),
        ({"optimizer.args": {"betas": {}}}, "optimizer.args {'betas': {}} do not suit adamw: KeyError"),
        ({"data.workers": 99999}, "data.workers 99999 is not in [0, 128]: each is a process"),
        ({"model.neuron": {"part": 2}}, "neuron {'part': 2} has 2 for its part: name one, as "),
        ({"model.neuron": {"part": "LIF", "tau": 10**400}}, "must hold finite numbers, not a number of"),
        ({"optimizer.lr": 10**400}, "must hold finite numbers, not a number of"),
        ({"model.depth": 2**31}, "depth 2147483648 is not in [1, 1000)"),
        ({"model.dim": 2**63}, "dim 9223372036854775808 is not in [1, 1048576)"),
        ({"model.mlp_ratio": 1e300}, "mlp_ratio 1e+300 is not in (0, 1000)"),
        ({"model.projection_std": 0}, "projection_std 0 is not in (0, inf)"),
        ({"run": "a/b"}, "run 'a/b' is not a name: give one word, and set its parent folder with --out"),
        ({"run": ".."}, "run '..' is not a name"),
    ],
)
def test_settings_that_do_not_fit(refused, changes, said):
    assert said in refused(**changes)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 3.5 GiB for an array with shape (9,)"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 4096 bytes."),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    ],
    ids=lambda error: type(error).__name__,
)
def test_memory_that_runs_short_is_no_fault_of_an_image(refused, monkeypatch, caplog, error):
    """Nothing is skipped for it, and no image is to be deleted."""

    def short(*_):
        raise error

    monkeypatch.setattr("torchvision.transforms.RandomHorizontalFlip.forward", short)
    said = refused(**{"data.skip_broken": True, "augment.hflip": 1})
    assert said.startswith("there is not enough memory for ") and said.endswith(
        "add --memory lean, or lower batch_size"
    )
    assert "skipped" not in caplog.text


def test_a_folder_made_for_a_run_that_never_began_goes_with_it(train, tmp_path):
    with pytest.raises(ValueError, match="leaves no step of training"):
        train(out=str(tmp_path / "new" / "runs"), **{"trainer.max_time": "00:00:00:00"})
    assert not (tmp_path / "new").exists()


def test_sixteen_bit_floats_need_a_gpu(refused, monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    assert "use bf16-mixed or 32-true" in refused(precision="16-mixed")


def test_more_processes_than_cores_are_refused_unless_forced(refused, recipe_file):
    """Ninety-nine of them would take the machine down."""
    many = {"trainer": {"accelerator": "cpu", "devices": 9999, "strategy": "ddp"}}
    for devices in (9999, "9999"):
        said = refused(trainer={**many["trainer"], "devices": devices})
        assert (
            "trainer.devices 9999 starts 9999 processes, but there are only" in said and "--oversubscribe true" in said
        )
    check_trainer(read_recipe(recipe_file, {**many, "oversubscribe": True}))
    with pytest.raises(ValueError, match=r"jobs 9999 starts 9999 processes"):
        plan_comparison(read_recipe(recipe_file), {"attention": ["SSA", "SDSA"]}, jobs=9999)


def test_a_run_that_exists(train):
    run = train().run
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match=r"run exists: continue it with --resume, or name another run with --run NAME"):
        train()
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("where", ["out", "run", "above"])
def test_a_file_in_the_way(train, tmp_path, where):
    in_the_way = tmp_path / "file"
    in_the_way.write_text("mine")
    out = {"out": in_the_way, "run": tmp_path, "above": in_the_way / "deeper"}[where]
    with pytest.raises(ValueError, match=r"cannot be written \(.*\): choose another folder with --out"):
        train("file", out=str(out))
    assert in_the_way.read_text() == "mine"


# ---- data


def test_a_folder_that_is_not_there(refused):
    assert "'nowhere' is neither a folder nor a known set" in refused(FileNotFoundError, **{"data.name": "nowhere"})


def test_an_empty_folder(refused, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "has no 'train' folder" in refused(FileNotFoundError, **{"data.name": str(tmp_path / "empty")})


def test_class_folders_that_differ(refused, make_images):
    folder = make_images()
    (folder / "test" / "top").rename(folder / "test" / "bottom")
    said = refused(**{"data.name": str(folder)})
    assert "only in train top, only in test bottom" in said


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("split", ["train", "test"])
def test_an_image_that_is_none(train, make_images, tmp_path, caplog, workers, split):
    folder = make_images()
    broken = folder / split / "top" / "0.png"
    broken.write_text("no image")
    data = {"name": str(folder), "workers": workers, "validation": 0}
    settings = {"data": data, "batch_size": 60 if split == "train" else 12}
    others = set(multiprocessing.active_children())
    with pytest.raises(ValueError) as error:
        train(**settings)
    assert str(error.value).startswith(f"{broken} cannot be read as an image")
    assert len(str(error.value).splitlines()) == 1
    assert not (tmp_path / "run").exists()
    assert set(multiprocessing.active_children()) <= others

    caplog.clear()
    data["skip_broken"] = True
    assert train("skipped", data=data).test.images == (12 if split == "train" else 11)
    assert f"skipped 1 broken image file(s) of {folder}, the first is {broken}" in caplog.text


def test_a_known_set_without_network(refused, monkeypatch, tmp_path):
    def no_network(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr("torchvision.datasets.utils.urllib.request.urlopen", no_network)
    said = refused(FileNotFoundError, data={"name": "cifar10", "root": str(tmp_path)})
    assert f"cifar10 is not in {str(tmp_path)!r} (" in said
    assert "put the files there as torchvision.datasets.CIFAR10 expects them" in said


# ---- losses that are not finite


@pytest.fixture
def blow_up(monkeypatch):
    """Multiplies the learning rate by 1e30 before a step, given as (epoch, batch)."""

    def blow_up(*moment):
        training_step = TrainingModule.training_step

        def step(self, batch, batch_idx):
            if (self.current_epoch, batch_idx) == moment:
                for group in self.trainer.optimizers[0].param_groups:
                    group["lr"] = 1e30
            return training_step(self, batch, batch_idx)

        monkeypatch.setattr(TrainingModule, "training_step", step)

    return blow_up


def check_finite_checkpoint(run, epoch):
    state = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert state["epoch"] == epoch
    assert all(weight.isfinite().all() for weight in state["state_dict"].values())


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_epoch(train, blow_up, tmp_path, rows_of):
    blow_up(1, 1)
    with pytest.raises(ValueError, match=r"the loss is nan at epoch 2, step [34]: .* lower optimizer\.lr") as error:
        train(epochs=3)
    assert "\n" not in str(error.value)
    check_finite_checkpoint(tmp_path / "run", 0)
    assert len(rows_of(tmp_path / "run")) == 1
    assert not (tmp_path / "run" / "weights.safetensors").exists()


@pytest.mark.parametrize(
    ("validation", "said"),
    [(0.2, "the loss is nan in evaluation after epoch 2"), (0, "is not finite at epoch 2, update 8")],
)
def test_weights_lost_in_the_last_step_of_an_epoch_are_not_saved(
    train, blow_up, tmp_path, validation, said, monkeypatch
):
    """The loss of that step was finite; its update was not."""
    optimizer_step = TrainingModule.optimizer_step

    def step(self, epoch, batch_idx, *args, **kwargs):
        optimizer_step(self, epoch, batch_idx, *args, **kwargs)
        if (epoch, batch_idx) == (1, 3):
            self.model.head.linear.weight.data.fill_(math.nan)

    monkeypatch.setattr(TrainingModule, "optimizer_step", step)
    with pytest.raises(ValueError, match=said):
        train(epochs=3, data={"validation": validation}, batch_size=12 if validation else 15)
    check_finite_checkpoint(tmp_path / "run", 0)


def test_a_loss_that_is_not_finite_before_any_checkpoint_leaves_nothing(refused, blow_up):
    blow_up(0, 0)
    assert "the loss is nan at epoch 1, step " in refused()


# ---- what stays as it was


def test_lightnings_log_level_is_put_back(train, blow_up):
    chatter = logging.getLogger("lightning.pytorch")
    level = chatter.level
    blow_up(0, 0)
    with pytest.raises(ValueError):
        train()
    assert chatter.level == level


def test_a_recipe_is_left_as_it_was(recipe_file, tmp_path):
    recipe = read_recipe(recipe_file, {"out": str(tmp_path)})
    before = recipe.to_dict()
    fit(recipe)
    assert recipe.to_dict() == before


def test_images_of_another_mode_are_converted(train, make_images):
    folder = make_images()
    Image.new("LA", (30, 20)).save(folder / "train" / "top" / "0.png")
    assert load_images(str(folder)).channels == 3
    assert train(data={"name": str(folder)}).test.images == 12


def cut_in_the_body(file):
    file.write_bytes(file.read_bytes()[:-200])


@pytest.mark.parametrize("harm", [cut_in_the_body, lambda file: file.unlink()], ids=["broken body", "vanished"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_a_file_that_breaks_or_vanishes_while_a_run_goes_on(train, make_images, caplog, monkeypatch, harm, split):
    """Its header was whole when the run began."""
    folder = make_images()
    file = folder / split / "top" / "3.png"
    training_step = TrainingModule.training_step

    def step(self, batch, batch_idx):
        if file.is_file() and (self.current_epoch, batch_idx) == (0, 2):
            harm(file)
        return training_step(self, batch, batch_idx)

    monkeypatch.setattr(TrainingModule, "training_step", step)
    data = {"name": str(folder), "validation": 0, "workers": 0}
    result = train(data={**data, "skip_broken": True}, epochs=2)
    assert result.test.images == (12 if split == "train" else 11)
    (line,) = [line for line in caplog.messages if "skipped, number" in line]
    assert f"skipped, number 1 of {60 if split == 'train' else 12}: {file} cannot be read as an image" in line


def test_no_picture_is_drawn_of_images_that_all_broke(train, make_images, monkeypatch):
    """The first test image of each class is drawn, which was whole when the run began."""
    folder = make_images()
    training_step = TrainingModule.training_step

    def step(self, batch, batch_idx):
        if batch_idx == 0:
            for file in folder.glob("test/*/0.png"):
                cut_in_the_body(file)
        return training_step(self, batch, batch_idx)

    monkeypatch.setattr(TrainingModule, "training_step", step)
    monkeypatch.setattr(results, "_DRAWN", 1)
    result = train(data={"name": str(folder), "skip_broken": True})
    assert result.test.images == 9 and not (result.run / "samples").exists()


def test_a_run_that_died_of_an_image_may_go_on_without_it(tmp_path):
    """The remedy that its error gives."""
    began = read_recipe("digits")
    without_it = read_recipe("digits", {"data.skip_broken": True})
    check_same_settings(without_it, began.to_dict(), tmp_path, may={"data.skip_broken"})  # its files are the same
    with pytest.raises(ValueError, match=r"data\.validation is 0\.2, but .* began with 0\.1"):
        check_same_settings(read_recipe("digits", {"data.validation": 0.2}), began.to_dict(), tmp_path)
