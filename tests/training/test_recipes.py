"""Recipes: the shipped ones against the papers' numbers, and what is read, overridden and refused."""

import pytest
import torch
import yaml
from torch import nn

import spikeformers as sf
from spikeformers.training import Recipe, fit, list_recipes, read_recipe
from spikeformers.training.optim import make_optimizer, make_schedule, total_epochs
from spikeformers.training.recipe_file import recipe_head

# Typed from shared/specs/spikformer-and-sdt.md, section 1.7: the released code's settings.
BOTH = {
    "model.time_steps": 4,
    "optimizer.name": "adamw",
    "optimizer.lr": 5e-4,
    "schedule.name": "cosine",
    "schedule.min_lr": 1e-5,
    "schedule.warmup_epochs": 20,
    "schedule.cooldown_epochs": 10,
    "epochs": 300,
    "label_smoothing": 0.1,
    "augment.mix_prob": 1.0,
    "augment.erase": 0.25,
    "augment.erase_mode": "const",
    "augment.hflip": 0.5,
    "augment.crop_scale": (1.0, 1.0),
    "data.crop_pct": 1.0,
    "data.interpolation": "bicubic",
    "ema_decay": None,
    "clip_grad_norm": None,
    "accumulate": 1,
    "precision": "16-mixed",
    "seed": 42,
}
CIFAR = {
    **BOTH,
    "optimizer.weight_decay": 0.06,
    "schedule.warmup_lr": 1e-5,
    "batch_size": 128,
    "augment.mixup": 0.5,
    "augment.cutmix": 0.0,
    "augment.mix_off_epoch": 200,
    "augment.rand_augment": "rand-m9-n1-mstd0.4-inc1",
    "augment.rand_augment_ops": ["Equalize", "Rotate", "ShearX", "TranslateXRel", "TranslateYRel"],
    "augment.crop_ratio": (1.0, 1.0),
}
PUBLISHED = {
    "spikformer_cifar10": {
        **CIFAR,
        "data.name": "cifar10",
        "data.mean": [0.4914, 0.4822, 0.4465],
        "data.std": [0.2470, 0.2435, 0.2616],
        "model.name": "spikformer_4_384_cifar10",
    },
    "spikformer_cifar100": {**CIFAR, "data.name": "cifar100", "model.name": "spikformer_4_384_cifar100"},
    "spikformer_imagenet": {
        **BOTH,
        "optimizer.weight_decay": 0.05,
        "schedule.warmup_lr": 1e-6,
        "batch_size": 24,
        "augment.mixup": 0.8,
        "augment.cutmix": 1.0,
        "augment.mix_switch_prob": 0.5,
        "augment.mix_off_epoch": None,
        "augment.rand_augment": "rand-m9-mstd0.5-inc1",
        "augment.rand_augment_ops": [],
        "model.name": "spikformer_8_512",
    },
}


def value_of(recipe, field):
    for word in field.split("."):
        recipe = recipe[word] if isinstance(recipe, dict) else getattr(recipe, word)
    return recipe


@pytest.mark.parametrize("name", list_recipes())
def test_every_recipe_says_where_it_comes_from_and_builds(name):
    head = recipe_head(name)
    for said in ("Paper:", "Published:", "Measured:", f"Command:   spikeformers train {name}"):
        assert said in head
    recipe = read_recipe(name)
    assert recipe.run == name
    with torch.device("meta"):
        model = sf.create_model(**recipe.model)
    assert make_schedule(recipe, make_optimizer(recipe, model), 10)[1] == total_epochs(recipe)


def test_the_shipped_recipes_are_the_demo_and_the_published_ones():
    assert list_recipes() == sorted(["digits", "nmnist", *PUBLISHED])


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_numbers(name):
    recipe = read_recipe(name)
    assert {field: value_of(recipe, field) for field in PUBLISHED[name]} == PUBLISHED[name]
    assert total_epochs(recipe) == 310


def test_imagenets_crop_ratio_goes_from_3_to_4_to_4_to_3():
    assert read_recipe("spikformer_imagenet").augment.crop_ratio == pytest.approx((3 / 4, 4 / 3))


@pytest.mark.parametrize(
    ("epoch", "lr"),
    [
        (0, 1e-5),
        (1, 3.45e-5),  # 1e-5 + 4.9e-4 / 20
        (19, 4.755e-4),
        (20, 4.946462e-4),  # on the cosine of 300 epochs, in which warm-up is counted
        (150, 2.55e-4),
        (299, 1.001343e-5),
        (300, 1e-5),
        (309, 1e-5),
    ],
)
def test_the_learning_rate_of_the_published_cifar_schedule(epoch, lr):
    recipe = read_recipe("spikformer_cifar10")
    optimizer = make_optimizer(recipe, nn.Linear(2, 2))
    schedule, _ = make_schedule(recipe, optimizer, 390)
    schedule.step(epoch)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([lr, lr], rel=1e-6)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_recipe_trains_when_made_small(name, images, tmp_path, rows_of, without_pictures):
    result = fit(
        name,
        model={"dim": 16, "depth": 1, "num_heads": 2, "time_steps": 1, "image_size": 32},
        data={"name": str(images), "validation": 0.2, "workers": 0},
        schedule={"warmup_epochs": 0, "cooldown_epochs": 0},
        epochs=1,
        batch_size=12,
        precision="bf16-mixed",
        trainer={"limit_train_batches": 2},
        out=str(tmp_path),
    )
    assert result.run == tmp_path / name
    (row,) = rows_of(result.run)
    assert float(row["lr"]) == 5e-4
    assert 0.5 < float(row["loss"]) < 2  # log 3 is 1.1
    assert row["test_acc"]


# ---- overrides


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
        (["--schedule", "cosine"], "schedule is a group of settings: give its fields, schedule.cooldown_epochs"),
        (["--epochs", "many"], "epochs is 'many', where int belongs"),
        (["--epochs", "2.5"], "epochs is '2.5', where int belongs"),
        (["--optimizer.lr", "fast"], "optimizer.lr is 'fast', where float belongs"),
        (["--precision", "8"], "precision is '8', where one of '32-true', 'bf16-mixed', '16-mixed' belongs"),
        (["--clip_grad_norm", "much"], "clip_grad_norm is 'much', where float or null belongs"),
        (["--data.skip_broken", "maybe"], "data.skip_broken is 'maybe', where bool belongs"),
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
        ("- epochs", "holds no settings"),
        ("", "holds no settings"),
        ("epochs: 3", "model.name is missing"),
        ("model: {name: spikformer_8_512}\nepoch: 3", "there is no setting 'epoch': did you mean epochs"),
        ("model: {name: spikformer_8_512}\ndata: {nam: digits}", "no setting 'data.nam': did you mean data.name"),
        ("model: {name: spikformer_8_512}\noptimizer: {lr: fast}", "optimizer.lr is 'fast', where float belongs"),
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
    with pytest.raises(ValueError, match=r"there is no recipe 'digit': did you mean digits\?"):
        read_recipe("digit")
    with pytest.raises(ValueError, match=r"there is no recipe file nowhere\.yaml"):
        read_recipe("nowhere.yaml")


def test_a_recipe_needs_a_model():
    with pytest.raises(ValueError, match=r"model\.name is missing"):
        Recipe()
