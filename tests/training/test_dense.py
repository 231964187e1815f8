"""Detectors and segmenters are trained, evaluated, resumed and used by the commands that classifiers have."""

import json
import os
import shutil
import signal
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_dense import CLASSES, MODELS, write_recipe
from torch.nn.functional import cross_entropy

import spikeformers as sf
from spikeformers.cli import main
from spikeformers.data import load_sets
from spikeformers.data.dense.labelled import MaskedImages, lookup_of
from spikeformers.data.eval_shards import NOT_COUNTED, Share, collate
from spikeformers.data.events.recording import Recording
from spikeformers.data.settings import Data
from spikeformers.deploy import DensePredictor, Predictor
from spikeformers.evaluation.audited import load_to_audit
from spikeformers.evaluation.dense import BoxMeter, MaskMeter
from spikeformers.training import dense_pictures, fit, read_recipe, results
from spikeformers.training.class_balance import class_weights
from spikeformers.training.module import TrainingModule
from spikeformers.training.optim import make_optimizer, make_schedule
from spikeformers.training.prepare import prepare
from spikeformers.training.recipe_file import recipe_head
from spikeformers.training.resume import digest_of, flat_settings
from spikeformers.training.start import start_from

KINDS = ("boxed", "masked")
SCORES = {"boxed": ("map", "map50"), "outlined": ("map", "map50", "mask_map", "mask_map50"), "masked": ("miou",)}
BEST = {"boxed": "map", "outlined": "map", "masked": "miou"}


def interrupt_at(monkeypatch, epoch, batch):
    """Presses Ctrl-C at the start of a step."""
    step = TrainingModule.training_step

    def interrupted(self, batch_, batch_idx):
        if (self.current_epoch, batch_idx) == (epoch, batch):
            os.kill(os.getpid(), signal.SIGINT)
        return step(self, batch_, batch_idx)

    monkeypatch.setattr(TrainingModule, "training_step", interrupted)


def state_of(run):
    state = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    return {part: state[part] for part in ("epoch", "global_step", "state_dict", "optimizer_states", "lr_schedulers")}


def same(a, b):
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


# ---- runs


@pytest.fixture
def without_drawing(monkeypatch):
    """Runs draw nothing: most of a tiny run's time."""
    monkeypatch.setattr(dense_pictures, "_save", lambda *_: None)
    monkeypatch.setattr("spikeformers.training.results.draw_curves", lambda *_: None)


@pytest.fixture(scope="module", params=["boxed", "masked", "outlined"])
def done(request, tmp_path_factory):
    """The kind of labels, and a finished run on them."""
    file = write_recipe(request, request.param, tmp_path_factory.mktemp("runs"))
    return request.param, file, fit(file)


def test_outlines_that_a_model_of_boxes_does_not_need_may_be_broken(request, outlined, tmp_path):
    data = shutil.copytree(outlined, tmp_path / "set")
    for split in ("val2017", "test2017"):
        file = data / "annotations" / f"instances_{split}.json"
        said = json.loads(file.read_text())
        said["annotations"][0]["segmentation"] = [[]]
        file.write_text(json.dumps(said))
    settings = {"model": MODELS["boxed"], "data": {"name": str(data), "workers": 0}, "epochs": 1}
    result = fit(write_recipe(request, "outlined", tmp_path, **settings))
    assert result.test.images == 4 and (result.run / "predictions.png").is_file()


def printed(capsys, *words):
    """What a command prints, as JSON."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main([*map(str, words)])
    assert ended.value.code in (0, None)
    return json.loads(capsys.readouterr().out)


def test_a_run_is_whole_and_evaluates_to_what_it_says(done, rows_of, capsys):
    kind, _, result = done
    run, test = result.run, result.test
    assert test.images == 4 and test.headline.startswith("mIoU" if kind == "masked" else "mAP")
    rows = rows_of(run)
    columns = {f"val_{name}" for name in SCORES[kind]}
    assert columns <= rows[0].keys() and not {"val_acc", "val_loss"} & rows[0].keys()
    assert all(0 <= float(row[column]) <= 100 for row in rows for column in columns)
    best = max(float(row[f"val_{BEST[kind]}"]) for row in rows)
    assert float(rows[result.epoch - 1][f"val_{BEST[kind]}"]) == best
    for picture in ("pictures/epoch-001.png", "pictures/epoch-002.png", "predictions.png", "curves.png"):
        assert Image.open(run / picture).width > 400
    settings = json.loads((run / "config.json").read_text())
    assert settings["preprocess"]["image_size"] == [32, 48] and {*CLASSES} <= {*settings["classes"]}
    name, score = ("mIoU", "miou") if kind == "masked" else ("mAP50", "map50")
    assert (
        f"\n| {name}, measured | {getattr(test, score):.2f} % of 4 test images |\n" in (run / "README.md").read_text()
    )
    [row] = printed(capsys, "compare-energy", run, "--images", 1, "--json")
    assert (row["measure"], row[score], row[f"{score}_of"]) == (name, getattr(test, score), "test")
    again = printed(capsys, "eval", run, "--json", "--batch-size", 3)
    assert json.loads((run / "results.json").read_text())["test"] == again


def test_an_interrupted_run_goes_on_to_the_bit(done, monkeypatch, without_drawing):
    _, file, whole = done
    with monkeypatch.context() as interrupted:
        interrupt_at(interrupted, 1, 1)
        with pytest.raises(KeyboardInterrupt, match="--resume"):
            fit(file, run="cut")
    cut = fit(file, run="cut", resume=True).run
    assert same(state_of(whole.run), state_of(cut))
    assert (whole.run / "results.json").read_text() == (cut / "results.json").read_text()


def test_no_picture_is_drawn_of_images_that_all_broke(dense_recipe, boxed, tmp_path, monkeypatch, without_pictures):
    """Of validation and test the first image is drawn, which was whole when the run began."""
    images = shutil.copytree(boxed, tmp_path / "set") / "JPEGImages"
    step = TrainingModule.training_step

    def breaking(self, batch, batch_idx):
        for name in ("012", "016"):
            (images / f"{name}.png").write_bytes((images / f"{name}.png").read_bytes()[:200])
        return step(self, batch, batch_idx)

    monkeypatch.setattr(TrainingModule, "training_step", breaking)
    monkeypatch.setattr(dense_pictures, "_DRAWN", 1)
    monkeypatch.setattr(results, "_DRAWN", 4)  # of which a quarter is drawn
    data = {"name": str(images.parent), "workers": 0, "skip_broken": True}
    result = fit(dense_recipe("boxed", data=data, epochs=1, schedule={}))
    assert result.test.images == 3
    assert not [*result.run.rglob("epoch-*.png")] and not (result.run / "predictions.png").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns(dense_recipe, kind, rows_of, without_drawing):
    changes = {"augment": {}, "epochs": 8, "schedule": {"per_update": True}, "batch_size": 2}
    rows = rows_of(fit(dense_recipe(kind, **changes)).run)
    assert float(rows[-1]["loss"]) < 0.9 * float(rows[0]["loss"])


def test_rare_classes_weigh_more(tmp_path):
    masks = [np.array(rows, np.uint8) for rows in ([[0] * 4] * 2 + [[0, 0, 1, 1]] * 2, [[0] * 4, [2] * 4, [255] * 4])]
    items = []
    for name, mask in zip("ab", masks, strict=True):
        Image.fromarray(mask).save(tmp_path / f"{name}.png")
        Image.new("RGB", mask.shape[::-1]).save(tmp_path / f"{name}-image.png")
        items.append((str(tmp_path / f"{name}-image.png"), str(tmp_path / f"{name}.png")))
    images = torch.utils.data.Subset(MaskedImages(items, lookup_of(4)), [0, 1])
    frequencies = torch.tensor([16 / 24, 4 / 16, 4 / 8])  # of the pixels with a class, 16 and 8; class 3 never occurs
    expected = [*(0.5 / frequencies).sqrt().tolist(), 1.0]
    assert class_weights(images, 4, 0.5).tolist() == pytest.approx(expected)


def test_the_loss_of_masks_is_a_weighted_mean(dense_recipe):
    prepared = prepare(read_recipe(dense_recipe("masked", loss={"class_balance": 1.0})))
    objective, weights = prepared.module.objective, prepared.module.objective.class_weights
    assert len(weights) == prepared.model.num_classes and len({*weights.tolist()}) > 1
    x, targets = next(iter(torch.utils.data.DataLoader(prepared.loaders.train, 4)))
    targets[:, :5] = 255
    loss, _ = objective(prepared.model.eval(), x, targets)
    torch.testing.assert_close(loss, cross_entropy(prepared.model(x), targets, weights, ignore_index=255))
    nothing, _ = objective(prepared.model, x, torch.full_like(targets, 255))
    assert nothing == 0


def test_class_balance_is_for_masks(dense_recipe):
    for file, task in ((dense_recipe("boxed"), "detection"), ("digits", "classification")):
        with pytest.raises(ValueError, match=f"but the model is for {task}: leave it out"):
            prepare(read_recipe(file, {"loss": {"class_balance": 0.5}}))


def test_recordings_with_boxes_are_trained_on(dense_recipe, driven, tmp_path, without_drawing, monkeypatch):
    data = {"name": str(driven), "workers": 0, "cache": str(tmp_path / "cache"), "window": [0.2, 0.15]}
    model = {**MODELS["boxed"], "image_size": [32, 48], "time_steps": 2}
    augment = {"hflip": 0.5, "scale_jitter": [0.8, 1.25]}
    for name, value in (("color_jitter", 0.1), ("rand_augment", "rand-m9-n1")):
        file = dense_recipe("boxed", data=data, model=model, augment={**augment, name: value})
        with pytest.raises(ValueError, match=rf"augment\.{name} has no effect on the recordings"):
            fit(file)
    run = fit(dense_recipe("boxed", data=data, model=model, augment=augment, batch_size=2, schedule={}, epochs=1)).run
    settings = json.loads((run / "config.json").read_text())
    assert settings["config"]["in_channels"] == 2 and settings["preprocess"]["sensor"] == [240, 304]
    opened, plain = [], Recording.opened
    monkeypatch.setattr(Recording, "opened", lambda it: (opened.append(it.path), plain(it))[1])
    files = [*map(str, (run / "samples").iterdir()), str(driven / "test" / "drive0_td.npz")]
    found = DensePredictor(run, min_score=0)(files)
    assert len(found) >= len(files) + 4 and all(one.size == (240, 304) for one in found)
    assert sorted(opened) == sorted(files)  # each once, whatever its windows


# ---- predictions


def test_predict_draws_and_writes_numbers_in_the_files_own_pixels(done, tmp_path, capsys, monkeypatch):
    kind, _, result = done
    run, small = result.run, result.run / "samples" / "2.png"
    monkeypatch.chdir(tmp_path)
    large = Image.open(run / "samples" / "1.png").resize((96, 64), Image.Resampling.NEAREST)
    Path("two at sea").mkdir()
    large.save(name := f"two at sea/{'l' * 250}.png")  # of the 255 letters that a name may have
    how = () if kind == "masked" else ("--min-score", 0)
    rows = printed(capsys, "predict", run, name, small, *how, "--json", "--out", "found")
    assert rows == json.loads((tmp_path / "found" / "predictions.json").read_text())
    said = [(row["file"], row["width"], row["height"]) for row in rows]
    assert said == [(name, 96, 64), (str(small), 48, 32)]
    assert [row["picture"][:6] for row in rows] == ["001-ll", "002-2."]
    assert Image.open(tmp_path / "found" / rows[0]["picture"]).width >= 96
    [found] = DensePredictor(run, min_score=0)([large])
    if kind == "masked":
        mask = np.asarray(Image.open(tmp_path / "found" / rows[0]["mask"]))
        assert mask.shape == (64, 96) and np.array_equal(mask, found.answer.numpy())
        assert sum(rows[0]["shares"].values()) == pytest.approx(1)
        [by_engine] = DensePredictor(run, weights=torch.float32)([large])
        assert (by_engine.answer == found.answer).float().mean() > 0.9
    else:
        assert len(rows[0]["boxes"]) == len(found.answer["boxes"])
    if kind == "outlined":  # whose scores are never low
        corners = np.array([one["box"] for one in rows[0]["boxes"]])
        assert corners.min() >= 0 and (corners.max(0) <= [96, 64, 96, 64]).all() and corners.max() > 48
        assert {one["label"] for one in rows[0]["boxes"]} <= {*CLASSES}
        assert rows[0]["boxes"][0]["pixels"] == int(found.answer["masks"][0].sum())


def test_what_is_found_is_drawn_on_the_upright_picture(done, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    Image.open(done[2].run / "samples" / "1.png").save(tmp_path / "turned.jpg", exif=exif)
    [found] = DensePredictor(done[2].run, min_score=0)([tmp_path / "turned.jpg"])
    drawn = found.drawn(Image.open(tmp_path / "turned.jpg"))
    assert found.size == (48, 32) and 3 * drawn.width == 2 * drawn.height
    with pytest.raises(ValueError, match=r"the picture has 50 x 40 pixels, but .*turned.jpg has 32 x 48: give the one"):
        found.drawn(Image.new("RGB", (50, 40)))


def test_predict_names_a_file_that_it_cannot_read(done, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.png").write_text("no image")
    words = ["predict", str(done[2].run), "broken.png", str(done[2].run / "samples" / "2.png")]
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert "broken.png cannot be read as an image" in capsys.readouterr().err
    assert len(printed(capsys, *words, "--skip-broken", "--json")) == 1
    assert printed(capsys, *words[:3], "--skip-broken", "--json", "--out", "none") == []
    assert (tmp_path / "none" / "predictions.json").read_text() == "[]\n"


def test_predict_refuses_options_that_mean_nothing_here(done, tmp_path, capsys, monkeypatch):
    kind, _, result = done
    monkeypatch.chdir(tmp_path)
    refused = {"--top": 1, "--min-score": 0.5} if kind == "masked" else {"--top": 1}
    for option, value in refused.items():
        with pytest.raises(SystemExit) as ended:
            main(["predict", str(result.run), str(result.run / "samples" / "2.png"), option, str(value)])
        assert ended.value.code == 2
        finds = "finds masks" if kind == "masked" else "finds boxes"
        assert f"{option} does not apply to {result.run}, which {finds}: leave it out" in capsys.readouterr().err
    assert not [*tmp_path.iterdir()]
    deep = Image.fromarray(np.full((32, 48), 40_000, np.uint16))
    with pytest.raises(ValueError, match=r"the image of 48 x 32 pixels has more than 8 bits per channel"):
        DensePredictor(done[2].run)([deep])
    with pytest.raises(ValueError, match="finds boxes or masks: use DensePredictor, or predict, with its run folder"):
        Predictor(done[2].run)
    assert load_to_audit(str(done[2].run))[1].shape == (3, 3, 32, 48)
    with pytest.raises(ValueError, match=r"names \d classes, but the model has 7: leave out num_classes"):
        DensePredictor(done[2].run, num_classes=7)
    with pytest.raises(ValueError, match=r"min_score 2 is not in \[0, 1\]"):
        DensePredictor(done[2].run, min_score=2)


def test_long_thin_images_are_drawn_beside_each_other(tmp_path):
    tall = Image.new("RGB", (1, 9000))
    dense_pictures._save([(tall, tall)] * 3, CLASSES, tmp_path / "a.png", "epoch 1")
    assert max(Image.open(tmp_path / "a.png").size) < 8000


# ---- what does not fit


@pytest.mark.parametrize(
    ("kind", "changes", "said"),
    [
        ("boxed", {"model": MODELS["masked"]}, r"has boxes, but fpn_maxformer is for segmentation, which needs masks"),
        ("masked", {"model": MODELS["boxed"]}, r"has masks, but retinanet_maxformer is for detection"),
        ("boxed", {"model": {"name": "spikformer_2_256_cifar10dvs"}}, "is for classification, which needs classes: "),
        ("boxed", {"augment": {"erase": 0.5}}, r"augment\.erase has no effect on the images"),
        ("masked", {"augment": {"rand_augment": "rand-n1", "rand_augment_ops": ["Rotate"]}}, "Rotate moves pixels"),
        ("masked", {"augment": {"mixup": 0.5}}, r"augment\.mixup does not apply to a model"),
        ("boxed", {"label_smoothing": 0.1}, "label_smoothing does not apply to a model for detection"),
        ("boxed", {"data.crop_pct": 0.9}, r"data\.crop_pct does not apply"),
        ("boxed", {"model": {**MODELS["boxed"], "num_classes": 5}}, r"model\.num_classes is 5, but .* has 3"),
        ("boxed", {"schedule": {"warmup_updates": 2}}, r"warmup_updates 2 needs per_update true and warmup_epochs 0"),
        ("boxed", {"schedule": {"warmup_updates": 7, "per_update": True}}, "is not below the updates of the run, 6"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_in_one_line(dense_recipe, kind, changes, said):
    nested = {key: value for key, value in changes.items() if "." not in key}
    file = dense_recipe(kind, **nested)
    with pytest.raises(ValueError, match=said) as refused:
        fit(file, **{key: value for key, value in changes.items() if "." in key})
    assert "\n" not in str(refused.value)


def test_boxes_that_changed_are_other_data(boxed, tmp_path):
    def digest(folder):
        return digest_of(load_sets(asdict(Data(name=str(folder))), seed=0), str(folder))

    moved = shutil.copytree(boxed, tmp_path / "moved")
    assert digest(moved) == digest(boxed)
    xml = moved / "Annotations" / "000.xml"
    xml.write_text(xml.read_text().replace("<xmax>", "<xmax>1", 1))
    assert digest(moved) != digest(boxed)


def test_checkpoints_are_not_evaluated_on_other_labels(done, masked, boxed, capsys):
    kind, _, result = done
    other, said = (boxed, "has boxes, but fpn") if kind == "masked" else (masked, "has masks, but")
    with pytest.raises(SystemExit):
        main(["eval", str(result.run), "--data", str(other)])
    assert said in capsys.readouterr().err


# ---- recipes

# What the sheet of the released code says: of both, then of each.
RELEASED = {
    "sdt_v3_coco": {
        "model.name": "mask_rcnn_sdt_v3_19m", "data.name": "coco", "optimizer.lr": 2e-4, "optimizer.weight_decay": 0.05,
        "optimizer.args": {"betas": [0.9, 0.999]}, "optimizer.head_factor": 1.0, "schedule.name": "multistep",
        "schedule.milestones": [8, 11], "schedule.decay_rate": 0.1, "schedule.warmup_updates": 1000, "epochs": 12,
        "batch_size": 4, "augment.scale_jitter": (0.6, 1.0), "schedule.after_warmup": False,
    },
    "sdt_v3_ade20k": {
        "model.name": "fpn_sdt_v3_19m", "data.name": "ade20k", "optimizer.lr": 1e-3, "optimizer.weight_decay": 0.005,
        "optimizer.head_factor": 2.0, "schedule.name": "poly", "schedule.decay_rate": 1.0,
        "schedule.warmup_updates": 1500, "schedule.after_warmup": True, "batch_size": 16,
        "model.image_size": [512, 512],
    },
}  # fmt: skip


@pytest.mark.parametrize("name", RELEASED)
def test_the_released_numbers(name):
    recipe = read_recipe(name)
    said = {"optimizer.name": "adamw", "optimizer.decay_all": False, "model.time_steps": 1, "augment.hflip": 0.5}
    settings = flat_settings(recipe.to_dict())
    found = {field: settings.get(field) for field in said | RELEASED[name] if field != "optimizer.args"}
    expected = json.loads(json.dumps(said | RELEASED[name]))
    assert recipe.optimizer.args == expected.pop("optimizer.args", {})
    assert found == expected and recipe.start_needed and "--start_from" in recipe_head(name)
    if name == "sdt_v3_ade20k":
        held = round(recipe.data.validation * 20210)
        assert (20210 - held) // 16 * recipe.epochs == 160_000
    with torch.device("meta"):
        model = sf.create_model(**recipe.model)
    assert sum(p.numel() for p in model.parameters()) > 20e6


@pytest.mark.parametrize(("name", "classes"), [("bccd_retinanet", 3), ("camvid_fpn", 11)])
def test_our_recipes_start_from_the_weights_that_come_along(name, classes, caplog):
    recipe = read_recipe(name)
    model = sf.create_model(**recipe.model, num_classes=classes)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    start_from(model, "cifar10_evening")
    changed = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    assert {key.partition(".")[0] for key in changed} == {"stem", "blocks"}
    assert all(key in changed for key in before if key.startswith("blocks") and key.endswith("conv.weight"))


# ---- parts


class Answers(torch.nn.Module):
    """Says what it is given."""

    num_classes = 3

    def forward(self, x):
        return x


def test_mean_average_precision_of_a_case_done_by_hand():
    """Two boxes of one class: the best answer is right, the second is wrong, the third right. Precision 1, 1/2, 2/3."""
    truth = {"boxes": torch.tensor([[0.0, 0, 10, 10], [20, 20, 30, 30]]), "labels": torch.tensor([0, 0])}
    found = {"boxes": torch.tensor([[0.0, 0, 10, 10], [50, 50, 60, 60], [20, 20, 30, 30]])}
    found |= {"labels": torch.zeros(3).long(), "scores": torch.tensor([0.9, 0.8, 0.7])}
    meter = BoxMeter(Answers())
    meter.update(Answers(), [found, found], [truth, NOT_COUNTED])  # the second is no image
    expected = pytest.approx(100 * (51 * 1 + 50 * 2 / 3) / 101, abs=0.01)  # COCO's 101 points of recall
    assert meter.images == 1 and meter.compute() == {"map": expected, "map50": expected}
    assert len(meter.metric.detection_box) == 2  # as in the other processes, which wait for each other at each entry


def test_mean_intersection_over_union_of_a_case_done_by_hand():
    """Void counts for nothing, and so does a class that is neither there nor predicted."""
    truth = torch.tensor([[[0, 0, 0, 1], [1, 1, 255, 255]]])
    said = torch.tensor([[[0, 0, 1, 1], [1, 1, 0, 1]]])
    meter = MaskMeter(Answers())
    meter.update(Answers(), torch.nn.functional.one_hot(said, 3).permute(0, 3, 1, 2).float(), truth)
    assert meter.compute()["miou"] == pytest.approx(100 * (2 / 3 + 3 / 4) / 2)
    scores = meter.scores(("a", "b", "c"), "images")
    assert scores.per_class == {"a": pytest.approx(200 / 3), "b": 75.0} and scores.pixels == pytest.approx(500 / 6)


def test_padding_in_distributed_evaluation_counts_for_nothing():
    masks = [(torch.zeros(3, 2, 2), torch.ones(2, 2).long())] * 3
    x, targets = collate([Share(masks, 1, 2)[i] for i in range(2)])
    assert x.shape == (2, 3, 2, 2) and (targets[0] == 1).all() and (targets[1] == 255).all()
    boxes = [(torch.zeros(3, 2, 2), {"boxes": torch.zeros(0, 4)})] * 3
    _, targets = collate([Share(boxes, 1, 2)[i] for i in range(2)])
    assert isinstance(targets[0], dict) and targets[1] == NOT_COUNTED


def test_the_head_alone_has_its_own_rate(dense_recipe):
    recipe = read_recipe(dense_recipe("boxed"))
    model = sf.create_model(**MODELS["boxed"])
    optimizer = make_optimizer(recipe, model)
    rates = {id(p): group["lr"] * group["lr_scale"] for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        assert rates[id(parameter)] == pytest.approx(0.02 if name.startswith("head.") else 0.01)
    assert any(name.startswith("neck.") for name, _ in model.named_parameters())


def test_milestones_and_warm_up_by_updates(dense_recipe):
    schedule = {"name": "multistep", "milestones": [8, 11], "warmup_updates": 50, "warmup_lr": 0.0, "per_update": True}
    recipe = read_recipe(dense_recipe("boxed", schedule=schedule, epochs=12, optimizer={"lr": 0.1}))
    optimizer = make_optimizer(recipe, torch.nn.Linear(2, 2))
    steps, _ = make_schedule(recipe, optimizer, 100)
    seen = []
    for update in (0, 25, 50, 798, 800, 1098, 1100):
        steps.step_update(update)
        seen.append(optimizer.param_groups[0]["lr"])
    assert seen == pytest.approx([0, 0.05, 0.1, 0.1, 0.01, 0.01, 0.001])


@pytest.mark.parametrize("field", ["milestones", "warmup_updates"])
def test_preparing_a_long_warm_up_does_not_refuse_it(dense_recipe, field):
    schedule = {"per_update": True, "warmup_updates": 5, "after_warmup": True} if field == "warmup_updates" else {
        "name": "multistep", "milestones": [1]
    }  # fmt: skip
    assert prepare(read_recipe(dense_recipe("masked", schedule=schedule))).model.task == "segmentation"


def test_a_process_may_end_with_padding_alone():
    model = sf.create_model("fpn_sdt_v3_3m", num_classes=3, image_size=32)
    meter, item = MaskMeter(model), (torch.zeros(3, 32, 32), NOT_COUNTED)
    meter.update(model.eval(), *collate([item]))
    assert meter.images == 0 and int(meter.metric.confmat.sum()) == 0
