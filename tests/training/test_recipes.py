"""Recipes: the shipped ones against the papers' numbers, and what is read, overridden and refused."""

import dataclasses
import logging
import math
import re
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from published_recipes import NOTHING, PUBLISHED, SIZES
from torch import nn

import spikeformers as sf
from spikeformers.data import EventSets, ImageSets
from spikeformers.data.dense.sets import COLORS
from spikeformers.data.events import known_event_sets
from spikeformers.data.events.recording import Recording
from spikeformers.models.building import resolve
from spikeformers.models.registry import find_family
from spikeformers.training import Recipe, fit, list_recipes, read_recipe
from spikeformers.training.idle_settings import idle_settings
from spikeformers.training.loaders import Loaders
from spikeformers.training.module import TrainingModule
from spikeformers.training.optim import learning_rate, make_optimizer, make_schedule, total_epochs
from spikeformers.training.recipe import Augment
from spikeformers.training.recipe_file import recipe_head, recipe_sizes
from spikeformers.training.trainer import check_trainer, quiet_lightning

OURS = (  # not after a paper
    "bccd_retinanet", "camvid_fpn", "cifar10_evening", "cifar10_evening_spikes", "digits", "fashion_mnist", "nmnist",
    *(UNSTATED := ("spikformer_v2_imagenet", "spikformer_v2_pretrain")),  # of a published model
)  # fmt: skip
DENSE = ("sdt_v3_coco", "sdt_v3_ade20k")  # whose numbers test_dense.py has
A_MODEL = sf.create_model("spikformer", dim=8, depth=1, num_heads=1)
EVERY_SIZE = [(name, size) for name, sizes in SIZES.items() for size in sizes]


def value_of(recipe, field):
    for word in field.split("."):
        recipe = recipe[word] if isinstance(recipe, dict) else getattr(recipe, word)
    return recipe


def test_the_shipped_recipes_are_those_of_the_table_and_ours():
    assert list_recipes() == sorted([*OURS, *PUBLISHED, *DENSE])
    assert PUBLISHED.keys() == SIZES.keys()


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_recipe_says_where_it_comes_from(name):
    head = recipe_head(name)
    for said in ("Paper:", "Published:", "Measured:  not yet run", "Hours:", f"Command:   spikeformers train {name}"):
        assert said in head
    assert recipe_sizes(name) == [*SIZES[name]]  # the first is the default
    assert read_recipe(name).run == name
    assert ("--start_from" in head) == bool(read_recipe(name).start_needed)


@pytest.mark.parametrize("name", OURS)
def test_our_own_recipes_say_what_they_are(name):
    for said in ("Paper:", "Measured:", f"Command:   spikeformers train {name}"):
        assert said in recipe_head(name)
    assert ("values of our choice" in recipe_head(name)) == (name in UNSTATED)


@pytest.mark.parametrize(("name", "size"), EVERY_SIZE)
def test_the_published_numbers(name, size):
    recipe = read_recipe(name, {"model": {"name": size}})
    assert recipe.model["name"] == size
    recipe.model = resolve(size, {key: value for key, value in recipe.model.items() if key != "name"})[2]
    expected = {**NOTHING, **PUBLISHED[name], **SIZES[name][size]}
    processes = expected.pop("processes")
    if lr := expected.pop("lr", None):
        assert learning_rate(recipe, processes) == pytest.approx(lr)
    if resized := expected.pop("resized", None):
        assert math.floor(recipe.model["image_size"] / recipe.data.crop_pct) == resized
        del expected["data.crop_pct"]
    for field in ("augment.crop_ratio", "data.crop_pct", "data.mean", "data.std"):
        if field in expected:
            assert value_of(recipe, field) == pytest.approx(expected.pop(field), abs=6e-6), field
    changes = expected.pop("augment.clip_ops")
    assert recipe.augment.clip_ops == pytest.approx(changes, abs=1e-6)
    assert {field: value_of(recipe, field) for field in expected} == expected
    assert make_schedule(recipe, make_optimizer(recipe, A_MODEL), 10)[1] == total_epochs(recipe)
    recipe.precision = "bf16-mixed"
    check_trainer(recipe)


# ---- settings that need others


def sets_of(kind="images", task="classification"):
    return SimpleNamespace(kind=kind, task=task)


@pytest.mark.parametrize("name", list_recipes())
def test_every_setting_of_a_shipped_recipe_has_an_effect(name):
    for size in recipe_sizes(name):
        recipe = read_recipe(name, {"model": {"name": size}})
        assert not idle_settings(recipe, sets_of("recordings" if recipe.data.name in known_event_sets() else "images"))


MIXED = {"augment.mixup": 0.5, "augment.cutmix": 0.5}
STEP = {"schedule.name": "step", "schedule.decay_epochs": 5}
ALONE = {  # a field, a value that is no default, and what gives it an effect
    "ema_warmup": (True, {"ema_decay": 0.9}),
    "loss.tet_weight": (0.1, {"loss.name": "tet"}),
    "loss.tet_target": (0.5, {"loss.name": "tet", "loss.tet_weight": 0.1}),
    "loss.firing_rate": (0.1, {"loss.firing_weight": 0.1}),
    "distill.name": ("soft", {"distill.teacher": "named"}),
    "distill.weight": (0.1, {"distill.teacher": "named"}),
    "distill.temperature": (2.0, {"distill.teacher": "named", "distill.name": "soft"}),
    "augment.mix_prob": (0.5, {"augment.mixup": 0.5}),
    "augment.mix_off_epoch": (3, {"augment.cutmix": 0.5}),
    "augment.mix_switch_prob": (0.1, MIXED),
    "augment.erase_mode": ("pixel", {"augment.erase": 0.5}),
    "augment.clip_ops_drawn": (2, {"augment.clip_ops": {"roll": 1, "cutout": 0.1}}),
    "schedule.after_warmup": (True, {"schedule.warmup_updates": 5}),
    "schedule.milestones": ([3], {"schedule.name": "multistep"}),
    "schedule.decay_epochs": (5, {"schedule.name": "step"}),
    "schedule.decay_rate": (0.5, {"schedule.name": "poly"}),
}


@pytest.mark.parametrize("field", ALONE)
def test_a_setting_without_its_partner_is_named(field):
    value, partner = ALONE[field]
    plain = {"schedule.warmup_epochs": 0, "ema_decay": None, "ema_warmup": False}
    (told,) = idle_settings(read_recipe("digits", {**plain, field: value}), sets_of())
    assert told.startswith(f"{field} without ")
    assert not idle_settings(read_recipe("digits", {**plain, field: value, **partner}), sets_of())


def test_a_setting_without_its_kind_of_data_is_named():
    events = {"data": {"window": [0.2, 0.1], "channels": 3, "sensor": [18, 20], "frames_by": "time", "test": 0.2}}
    recipe = read_recipe("digits", events)
    told = idle_settings(recipe, sets_of())
    assert told == [f"data.{name} without recordings" for name in ("frames_by", "channels", "sensor", "test", "window")]
    assert not idle_settings(recipe, sets_of("recordings"))
    recipe = read_recipe("digits", {"data": {"skip_empty": True, "void": 7, "crop_pct": 0.9}, **STEP})
    assert idle_settings(recipe, sets_of("images", "detection")) == ["data.void without masks"]
    assert idle_settings(recipe, sets_of("recordings", "segmentation")) == [
        "data.crop_pct without images",
        "data.skip_empty without boxes",
    ]
    lowest = read_recipe("digits", {**STEP, "schedule.min_lr": 0.0})
    assert idle_settings(lowest, sets_of()) == ["schedule.min_lr without schedule.name cosine, tanh or poly"]


def test_a_run_tells_once_what_has_no_effect(train, caplog):
    train(ema_warmup=True, loss={"firing_rate": 0.1})
    told = [line for line in caplog.messages if line.startswith("no effect")]
    assert told == ["no effect: ema_warmup without ema_decay, loss.firing_rate without loss.firing_weight"]


# ---- rates, epoch by epoch

TWENTY = {"epochs": 20, "schedule.warmup_epochs": 2, "schedule.per_update": False}


def rates(name, at, updates=1, **changes):
    """The highest rate at the start of some epochs, by the recipe's schedule."""
    recipe = read_recipe(name, changes)
    optimizer = make_optimizer(recipe, nn.Linear(2, 2), 8)
    schedule, _ = make_schedule(recipe, optimizer, updates)
    seen = []
    for epoch in at:
        schedule.step_update(round(epoch * updates)) if recipe.schedule.per_update else schedule.step(epoch)
        seen.append(optimizer.param_groups[0]["lr"])
    return pytest.approx(seen, rel=1e-3)


def test_spikformers_cosine_counts_its_warm_up():
    expected = [
        1e-5,
        3.45e-5,  # 1e-5 + 4.9e-4 / 20
        4.755e-4,
        4.946462e-4,  # on the cosine of 300 epochs
        2.55e-4,
        1.001343e-5,
        1e-5,
        1e-5,
    ]
    assert rates("spikformer_cifar10", (0, 1, 19, 20, 150, 299, 300, 309)) == expected


def test_milestones_are_the_epochs_after_which_the_rate_falls():
    changes = {**TWENTY, "schedule.name": "multistep", "schedule.milestones": [3, 4], "schedule.warmup_epochs": 0}
    expected = [0.1, 0.1, 0.1, 0.01, 0.001]
    for by_update, updates in ((False, 1), (True, 100)):
        how = {**changes, "schedule.per_update": by_update, "optimizer.lr": 0.1}
        assert rates("digits", range(5), updates, **how) == expected
    with pytest.raises(ValueError, match=r"multistep needs milestones: add some"):
        rates("digits", (0,), **{**changes, "schedule.milestones": []})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"name": "multistep", "milestones": [20, 30]},
            r"milestones \[20, 30\] is not below epochs 20: the rate never",
        ),
        (
            {"name": "multistep", "milestones": [18], "after_warmup": True},
            r"milestones \[18\] after a warm-up of 2 is not below epochs 20: the rate never falls; lower it",
        ),
        (
            {"name": "step", "decay_epochs": 18, "after_warmup": True},
            "decay_epochs 18 after a warm-up of 2 is not below",
        ),
        (
            {"name": "step", "decay_epochs": 5, "cooldown_epochs": 3},
            "cooldown_epochs 3 does not suit schedule.name step, which has no cool-down: leave it out, or take cosine, "
            "tanh or poly$",
        ),
        ({"name": "multistep", "milestones": [5], "cooldown_epochs": 1}, "cooldown_epochs 1 does not suit"),
    ],
)
def test_a_rate_that_never_falls_is_refused(changes, said):
    with pytest.raises(ValueError, match=rf"^schedule\.{said}"):
        rates("digits", (0,), **TWENTY, **{f"schedule.{field}": value for field, value in changes.items()})


def test_the_last_milestone_may_lie_behind_the_end():
    changes = {"schedule.name": "multistep", "schedule.milestones": [17, 30], "schedule.after_warmup": True}
    assert rates("digits", (18, 19), **TWENTY, **changes, **{"optimizer.lr": 0.1}) == [0.1, 0.01]


def test_a_rate_in_steps():
    step = {"schedule.name": "step", "schedule.decay_epochs": 2, "optimizer.lr": 0.1}
    changes = {**TWENTY, **step, "schedule.warmup_epochs": 0}
    assert rates("digits", range(5), **changes) == [0.1, 0.1, 0.01, 0.01, 0.001]
    with pytest.raises(ValueError, match=r"decay_epochs 90 is not below epochs 20: the rate never falls; lower it"):
        rates("digits", (0,), **{**changes, "schedule.decay_epochs": 90})


def test_qkformers_rates_are_those_of_its_logs():
    assert rates("qkformer_cifar10", (20, 399)) == [9.939e-4, 1.002e-5]
    # half a cosine behind five epochs of warm-up, iteration by iteration
    half = [0.0, 0.6e-3, 1.2e-3, 1e-6 + (1.2e-3 - 1e-6) / 2]
    assert rates("qkformer_imagenet", (0, 2.5, 5, 102.5), updates=100) == half


def test_qkformers_ten_epochs_at_384_px_have_the_means_of_its_log():
    def mean_of(epoch):
        steps = [epoch + i / 100 for i in range(100)]
        return torch.tensor(rates("qkformer_imagenet_384", steps, updates=100).expected).mean().item()

    assert mean_of(1) == pytest.approx(5.59e-6, rel=5e-3)
    assert mean_of(9) == pytest.approx(5.23e-7, rel=5e-3)


def test_v2s_rate_rises_from_nothing_for_ten_epochs():
    assert rates("sdt_v2_imagenet", (0, 5, 10, 105, 200), updates=10) == [0, 1.2e-3, 2.4e-3, 1.2e-3, 1e-6]


# ---- two steps of each on made-up images

SHRUNK = {
    "spikformer": dict(dim=16, depth=1, num_heads=2),
    "spikformer_v2": dict(dim=16, depth=1, num_heads=2),
    "spikformer_v2_mae": dict(dim=16, depth=1, num_heads=2, decoder_dim=8, decoder_depth=1, decoder_num_heads=2),
    "spikingformer": dict(dim=16, depth=1, num_heads=2),
    "sdt": dict(dim=16, depth=1, num_heads=2),
    "sdt_v2": dict(dims=[8, 8, 16, 16], depths=[1, 1], num_heads=2),
    "qsd": dict(dims=[8, 8, 16, 16], depths=[1, 1], num_heads=2),
    "sdt_v3": dict(dims=[8, 8, 16, 16], depths=[1, 1], num_heads=2),
    "sdt_v3_large": dict(dims=[8, 8, 16], depth=1, num_heads=2),
    "sdt_v3_mae": dict(dims=[8, 8, 16], depth=1, num_heads=2, decoder_dim=8, decoder_depth=1, decoder_num_heads=2),
    "qkformer": dict(dims=[16, 32], depths=[1, 1], num_heads=2),
    "msvit": dict(dims=[16, 32], depths=[1, 1], num_heads=2),
    "swformer": dict(dim=16, depth=1, num_heads=2),
    "sglformer": dict(dim=16, depth=2, num_heads=2),
    "maxformer": dict(dims=[16, 32, 64], depths=[1, 1, 1], num_heads=4),
    "maxformer_events": dict(dims=[32, 64], num_heads=4),
    "spikingresformer": dict(dims=[8, 8, 16], num_heads=[1, 1, 2], depths=[1, 1, 1]),
    "sew_resnet": dict(dims=[16, 16], depths=[1, 1], stem_dim=16),
}


class StandIn(nn.Module):
    """In place of a teacher that would be downloaded."""

    def __init__(self, num_classes):
        super().__init__()
        self.num_classes = num_classes
        self.pretrained_cfg = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}

    def forward(self, x):
        return torch.eye(self.num_classes)[: len(x)]


def made_up_images(classes):
    noise = torch.randint(0, 256, (6, 40, 40, 3), dtype=torch.uint8).numpy()
    images = [(Image.fromarray(pixels), i % classes) for i, pixels in enumerate(noise)]
    labels = tuple(f"class {i}" for i in range(classes))
    parts = dict(train=images[:4], validation=images[4:], test=images[4:])
    return ImageSets("made up", **parts, classes=labels, channels=3, image_size=None, mean=(0.5,) * 3, std=(0.2,) * 3,
                     interpolation="bicubic", skipped=())  # fmt: skip


@pytest.fixture(scope="session")
def made_up_events(tmp_path_factory):
    folder = tmp_path_factory.mktemp("events")
    items = []
    for i in range(6):
        t, (x, y), p = np.arange(400) * 100, np.random.default_rng(i).integers(0, 40, (2, 400)), np.arange(400) % 2
        np.savez(folder / f"{i}.npz", t=t, x=x, y=y, p=p)
        items.append((Recording(str(folder / f"{i}.npz")), i % 3))

    def made_up_events(channels):
        parts = dict(train=items[:4], validation=items[4:], test=items[4:])
        return EventSets("made up", **parts, classes=("a", "b", "c"), channels=channels, sensor=(40, 40))

    return made_up_events


def two_steps(recipe, sets):
    """Trains two steps of two images or clips, as `fit` would but for its folder, and gives the losses."""
    recipe.batch_size, recipe.accumulate, recipe.precision = 2, 1, "32-true"
    recipe.data.workers, recipe.data.cache = 0, None
    recipe.schedule.warmup_epochs = 0  # at its start the rate is 0
    learns = recipe.model.get("num_classes") != 0
    ends = {"in_channels": sets.channels, **({"num_classes": 3} if learns else {})}
    model = sf.create_model(**{**recipe.model, **ends})
    preprocess = sets.preprocess(asdict(recipe.data), image_size=model.image_size, time_steps=model.time_steps)
    module = TrainingModule(recipe, model, {"preprocess": preprocess})
    before = [p.detach().clone() for p in model.parameters()]
    losses = []
    module.on_train_batch_end = lambda outputs, batch, i: losses.append(outputs["loss"].item())
    with quiet_lightning():
        trainer = pl.Trainer(
            fast_dev_run=2, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
            use_distributed_sampler=False, gradient_clip_val=recipe.clip_grad_norm,
        )  # fmt: skip
        trainer.fit(module, datamodule=Loaders(recipe, sets, preprocess))
    assert all(p.isfinite().all() for p in model.parameters())
    moved = [not torch.equal(p, b) for p, b in zip(model.parameters(), before, strict=True)]
    assert sum(moved) > len(moved) / 2
    assert ("val_acc" in trainer.callback_metrics) == learns
    return losses


def sets_for(recipe, made_up_events):
    return made_up_events(recipe.data.channels) if recipe.data.name in known_event_sets() else made_up_images(3)


@pytest.fixture
def without_downloads(monkeypatch):
    monkeypatch.setattr("timm.create_model", lambda name, pretrained: StandIn(3))


@pytest.mark.parametrize("name", [*PUBLISHED, *UNSTATED])
def test_a_published_recipe_trains_when_made_small(name, without_downloads, made_up_events):
    recipe = read_recipe(name)
    family = find_family(recipe.model["name"]).builder.__name__
    small = SHRUNK[family]
    if recipe.data.name in known_event_sets():
        small = SHRUNK.get(f"{family}_events", small)
    if pruning := recipe.model.get("pruning"):
        small = {**small, "pruning": {**pruning, "keep": 0.8}}  # theirs are for ten blocks
    recipe.model |= {**small, "image_size": 32, "time_steps": min(recipe.model["time_steps"], 2)}
    losses = two_steps(recipe, sets_for(recipe, made_up_events))
    assert len(losses) == 2 and all(0 < loss < 5 for loss in losses)  # log 3 is 1.1


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size"), EVERY_SIZE)
def test_a_published_recipe_trains_at_full_width(name, size, without_downloads, made_up_events):
    recipe = read_recipe(name, {"model": {"name": size}})
    if recipe.data.name == "imagenet":
        recipe.model["image_size"] = 64
    assert all(math.isfinite(loss) for loss in two_steps(recipe, sets_for(recipe, made_up_events)))


# ---- sizes


def test_a_size_has_the_fields_of_its_row(caplog):
    common, row = read_recipe("qkformer_imagenet"), read_recipe("qkformer_imagenet", ["--model", "qkformer_10_768"])
    assert common.model == {"name": "qkformer_10_384", "time_steps": 4}
    assert row.model == {"name": "qkformer_10_768", "time_steps": 4}
    assert (common.batch_size, common.accumulate, row.batch_size, row.accumulate) == (32, 2, 24, 3)
    words = ["--model=qkformer_10_768", "--batch_size", "8", "--model.time_steps", "1"]
    asked = read_recipe("qkformer_imagenet", words)
    assert (asked.batch_size, asked.accumulate, asked.model["time_steps"]) == (8, 3, 1)
    mapping = {"model": {"name": "qkformer_10_768", "time_steps": 1}, "batch_size": 8}
    assert read_recipe("qkformer_imagenet", mapping) == asked
    assert read_recipe("qkformer_imagenet", {"model": "qkformer_10_768"}) == row
    assert caplog.text == ""


def test_arguments_go_to_the_default_size():
    recipe = read_recipe("spikformer_cifar10", {"model": {"neuron": sf.neurons.PLIF, "depth": 2}})
    assert recipe.model == {"name": "spikformer_4_384_cifar10", "time_steps": 4, "neuron": "PLIF", "depth": 2}


def test_another_size_of_the_family_has_the_common_values(caplog):
    with caplog.at_level(logging.WARNING, "spikeformers"):
        recipe = read_recipe("qkformer_imagenet", ["--model", "msqkformer_10_768"])
    assert recipe.model["name"] == "msqkformer_10_768" and recipe.batch_size == 32
    assert "qkformer_imagenet has no row for msqkformer_10_768: it gets the values that all sizes share" in caplog.text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--model", "sdt_8_384"], "qkformer_imagenet_384 is for qkformer_10_768, not for sdt_8_384: for another"),
        (["--model", "own.py:builder"], "not for own.py:builder"),
        (["--model", "qkformer_10_76"], "there is no model 'qkformer_10_76': did you mean qkformer_10_768"),
    ],
)
def test_a_model_that_a_recipe_is_not_for_is_refused(words, said):
    with pytest.raises(ValueError) as refused:
        read_recipe("qkformer_imagenet_384", words)
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_a_size_may_start_from_weights_where_others_do_not():
    largest = read_recipe("spikformer_v2_imagenet", ["--model", "spikformer_v2_16_768"])
    assert (largest.start_needed, largest.model["time_steps"]) == ("the weights of spikformer_v2_pretrain", 1)
    smaller = read_recipe("spikformer_v2_imagenet")
    assert (smaller.start_needed, smaller.model) == (None, {"name": "spikformer_v2_8_512", "time_steps": 4})


def test_a_recipe_that_starts_from_weights_is_refused_without_them():
    with pytest.raises(ValueError, match=r"^qkformer_imagenet_384 starts from the weights of .* with --start_from$"):
        fit("qkformer_imagenet_384", precision="bf16-mixed")


# ---- a file of one's own


def test_a_file_may_have_sizes(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(
        "sizes: {spikformer_8_384: {epochs: 3, model: {drop_path: 0.1}}, spikformer_8_512: null}\n"
        "model: {time_steps: 2}\nepochs: 5"
    )
    recipe = read_recipe(str(file))
    assert recipe.model == {"name": "spikformer_8_384", "time_steps": 2, "drop_path": 0.1} and recipe.epochs == 3
    assert read_recipe(str(file), ["--model", "spikformer_8_512"]).epochs == 5
    file.write_text("sizes: [spikformer_8_384]")
    with pytest.raises(ValueError, match=r"sizes of .* is not a table"):
        read_recipe(str(file))


# ---- overrides


def test_two_readings_share_nothing():
    first, second = read_recipe("digits"), read_recipe("digits")
    first.trainer["devices"] = 2
    first.model["depth"] = 7
    first.augment.rand_augment_ops.append("Rotate")
    first.optimizer.args["eps"] = 1.0
    assert read_recipe("digits") == second != first


def test_overrides_as_mapping_and_as_words_are_the_same():
    mapping = {
        "model": {"dim": 32, "strides": [1, 2, 1, 2], "neuron": sf.neurons.PLIF, "drop_path": 0.1},
        "optimizer.lr": 1e-3,
        "schedule": {"warmup_epochs": 1},
        "data": {"workers": 3, "mean": [0.5]},
        "augment.crop_scale": (0.5, 1.0),
        "ema_decay": None,
        "epochs": 3,
        "trainer": {"devices": 2},
    }
    words = (
        "--model.dim 32 --model.strides=[1,2,1,2] --model.neuron PLIF --model.drop_path 1e-1 --optimizer.lr 1e-3 "
        "--schedule.warmup_epochs 1 --data.workers 3 --data.mean [0.5] --augment.crop_scale [0.5,1] --ema_decay null "
        "--epochs=3 --trainer.devices 2"
    )
    recipe = read_recipe("digits", mapping)
    assert recipe == read_recipe("digits", words.split())
    assert recipe != read_recipe("digits")
    assert (recipe.epochs, recipe.model["dim"], recipe.model["neuron"], recipe.model["depth"]) == (3, 32, "PLIF", 2)


def test_a_name_for_model_replaces_it_and_one_for_data_renames_it():
    for overrides in (
        {"model": "spikformer_4_256_cifar10", "data": "cifar10"},
        ["--model", "spikformer_4_256_cifar10", "--data", "cifar10"],
    ):
        recipe = read_recipe("digits", overrides)
        assert recipe.model == {"name": "spikformer_4_256_cifar10"}
        assert (recipe.data.name, recipe.data.workers) == ("cifar10", 0)


def test_a_policy_of_clips_is_replaced_as_a_whole():
    for overrides in ({"augment": {"clip_ops": {"roll": 5}}}, ["--augment.clip_ops", '{"roll": 5}']):
        assert read_recipe("nmnist", overrides).augment.clip_ops == {"roll": 5}
    assert read_recipe("nmnist", ["--augment.clip_ops", "{}"]).augment.clip_ops == {}


def test_arguments_follow_a_models_name():
    recipe = read_recipe("digits", ["--model", "spikformer_8_512", "--model.depth", "2", "--model.neuron=IF"])
    assert recipe.model == {"name": "spikformer_8_512", "depth": 2, "neuron": "IF"}


def test_numbers_are_read_as_people_write_them(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("model: {name: spikformer_8_512, drop_path: 1e-1}\noptimizer: {lr: 1e-3}\nschedule: {min_lr: 1e-6}")
    recipe = read_recipe(str(file))
    assert (recipe.optimizer.lr, recipe.schedule.min_lr, recipe.model["drop_path"]) == (1e-3, 1e-6, 0.1)
    assert recipe.run == "mine"


def test_settings_on_disk_are_the_recipe_again(finished, recipe_file):
    again = read_recipe(str(finished.run / "settings.yaml"))
    changes = {"out": str(finished.run.parent), "run": "done", "epochs": 3, "data": {"test_each_epoch": True}}
    assert again == read_recipe(recipe_file, changes)


def test_parts_given_as_classes_are_written_by_name(train):
    run = train(model={"neuron": sf.neurons.PLIF}).run
    assert yaml.safe_load((run / "settings.yaml").read_text())["model"]["neuron"] == "PLIF"
    assert isinstance(sf.from_pretrained(run).stem.stages[0].neuron, sf.neurons.PLIF)


def test_a_recipe_built_in_python_may_hold_classes_and_be_used_twice(
    recipe_file, tmp_path, make_images, without_pictures
):
    recipe = read_recipe(recipe_file, {"out": str(tmp_path), "trainer": {"limit_train_batches": 1}})
    recipe.model["neuron"] = sf.neurons.IF
    assert fit(recipe).test.images == 12
    recipe.run, recipe.data.name = "again", str(make_images(classes=("a", "b"), train=30))
    assert fit(recipe).test.images == 8
    with pytest.raises(ValueError, match=r"a Recipe is complete: change epochs in it"):
        fit(recipe, epochs=2)


# ---- refusals: one line, the field's name, those that are close


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--epoch", "3"], "there is no setting 'epoch': did you mean epochs?"),
        (["--optimizer.learning_rate", "1"], "there is no setting 'optimizer.learning_rate'"),
        (["--lr", "1"], "there is no setting 'lr': did you mean optimizer.lr?"),
        (["--augment.mixupp", "1"], "there is no setting 'augment.mixupp': did you mean augment.mixup"),
        (["--schedule", "cosine"], "schedule is a group of settings: give its fields, schedule.after_warmup"),
        (["--epochs", "many"], "epochs must be int, not 'many'"),
        (["--epochs", "2.5"], "epochs must be int, not '2.5'"),
        (["--optimizer.lr", "fast"], "optimizer.lr must be float, not 'fast'"),
        (["--precision", "8"], "precision must be one of '32-true', 'bf16-mixed', '16-mixed', not '8'"),
        (["--clip_grad_norm", "much"], "clip_grad_norm must be float or null, not 'much'"),
        (["--data.skip_broken", "maybe"], "data.skip_broken must be true or false, not 'maybe'"),
        (["--augment.crop_scale", "[1]"], "augment.crop_scale"),
        (["--epochs"], "--epochs has no value: write --epochs value"),
        (["epochs", "3"], "the word 'epochs' belongs to no field: write --field value"),
        (["--epochs", "0"], "epochs 0 is below 1"),
        (["--batch_size", "-4"], "batch_size -4 is below 1"),
        (["--optimizer.lr", "0"], "optimizer.lr 0.0 is not above 0"),
        (["--label_smoothing", "1"], "label_smoothing 1.0 is not in [0, 1)"),
        (["--ema_decay", "1"], "ema_decay 1.0 is not in [0, 1)"),
        (["--augment.mixup", "1", "--batch_size", "63"], "batch_size 63 is odd, and mixup pairs images"),
    ],
)
def test_a_field_that_does_not_fit_is_refused_in_one_line(words, said):
    with pytest.raises(ValueError) as refused:
        read_recipe("digits", words)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("epochs: [1", "is not valid YAML"),
        ("optimizer: {args: &a {x: *a}}", "mine.yaml contains itself by an anchor"),
        ("model: &m {name: spikformer, neuron: *m}", "mine.yaml contains itself by an anchor"),
        (
            "a: &a [1, 1]\n" + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 99)}]\n" for a, b in ["ab", "bc", "cd"]),
            "or is too deep or too large",
        ),
        ("trainer: {x: " + "[" * 3000 + "]" * 3000 + "}", "mine.yaml has brackets nested too deeply"),
        ("epochs: 2001-99-99", "mine.yaml is not valid YAML: month must be in 1..12"),
        ("epochs: " + "9" * 5000, "mine.yaml is not valid YAML: Exceeds the limit"),
        ("- epochs", "holds no settings"),
        ("", "holds no settings"),
        ("epochs: 3", "model.name is missing"),
        ("model: {name: spikformer_8_512}\nepoch: 3", "there is no setting 'epoch': did you mean epochs"),
        ("model: {name: spikformer_8_512}\ndata: {nam: digits}", "no setting 'data.nam': did you mean data.name"),
        ("model: {name: spikformer_8_512}\noptimizer: {lr: fast}", "optimizer.lr must be float, not 'fast'"),
        ("model: spikformer_8_512", "model"),
        ("model: {name: spikformer_8_512}\ndata: digits", "data is a group of settings"),
        ("3: 4", "there is no setting '3'"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_in_one_line(tmp_path, text, said):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(ValueError) as refused:
        read_recipe(str(file))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_unknown_recipes_name_the_close_ones():
    with pytest.raises(ValueError, match=r"there is no recipe 'digit': did you mean digits\b"):
        read_recipe("digit")
    with pytest.raises(ValueError, match=r"there is no recipe file nowhere\.yaml"):
        read_recipe("nowhere.yaml")


def test_a_recipe_needs_a_model():
    with pytest.raises(ValueError, match=r"model\.name is missing"):
        Recipe()


def test_an_augmentation_is_a_field_and_a_transforms_argument():
    """What else asks for one reads the signatures: a new one is entered in two places, and in limits if it has any."""
    fields = {field.name for field in dataclasses.fields(Augment)}
    of_images, of_clips = ImageSets.augments & fields, EventSets.augments & fields
    assert "hflip" in of_images & of_clips
    package = Path(sf.__file__).parent
    for name in of_images ^ of_clips:
        word = re.compile(rf"\b{name}\b")
        files = {str(file.relative_to(package)) for file in package.rglob("*.py") if word.search(file.read_text())}
        files -= {"training/limits.py", "training/idle_settings.py"}
        if name in COLORS:  # sets with boxes or masks take it too
            files -= {"data/dense/sets.py", "data/dense/transforms.py", "data/rand_augment.py"}
        assert files <= {"training/recipe.py", f"data/{'' if name in of_images else 'events/'}transforms.py"}, name
