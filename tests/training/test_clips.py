"""Training on event recordings, from a folder of files to a checkpoint that evaluates and predicts."""

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import nn

from spikeformers.checkpoints.read import read_checkpoint
from spikeformers.cli import main
from spikeformers.deploy import Predictor
from spikeformers.evaluation.evaluate import evaluate_checkpoint
from spikeformers.evaluation.subject import load_for_analysis
from spikeformers.evaluation.test_set import TestSet, _is_same_set
from spikeformers.training import fit, read_recipe, results
from spikeformers.training import module as module_file
from spikeformers.training.mixup import Mixup
from spikeformers.training.prepare import prepare
from spikeformers.training.teacher import Teacher

MODEL = {
    "name": "spikformer", "dim": 16, "depth": 1, "num_heads": 2, "strides": [2, 2, 1, 1], "mlp_ratio": 2,
    "time_steps": 3, "image_size": 16,
}  # fmt: skip


def atis(events):
    return b"".join(bytes([x, y]) + (p << 23 | t).to_bytes(3, "big") for t, x, y, p in events)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """16 recordings to train on and 4 to test on, of a sensor of 18 x 20; the classes differ in where things happen."""
    root = tmp_path_factory.mktemp("events") / "set"
    rng = np.random.RandomState(0)
    for part, count in (("train", 8), ("test", 2)):
        for label, name in enumerate(("left", "right")):
            (root / part / name).mkdir(parents=True)
            for i in range(count):
                events = [(5 * k, 10 * label + rng.randint(8), rng.randint(18), rng.randint(2)) for k in range(1500)]
                (root / part / name / f"{i}.bin").write_bytes(atis([*events, (8000, 19, 17, 0)]))
    return root


@pytest.fixture(scope="module")
def recipe_of(folder, tmp_path_factory):
    """Writes the recipe: eight epochs of four steps, of which the last is kept."""

    def recipe_of(**data):
        out = tmp_path_factory.mktemp("run")
        recipe = {
            "model": MODEL,
            "data": {
                "name": str(folder), "validation": 0, "workers": 0, "sensor": [18, 20],
                "cache": str(out / "frames"), **data,
            },
            "augment": {"clip_ops": {"identity": 0, "roll": 1, "cutout": 0.1}, "mixup": 0.2, "cutmix": 0.2},
            "optimizer": {"lr": 0.01},
            "epochs": 8,
            "batch_size": 4,
            "out": str(out),
        }  # fmt: skip
        (out / "recipe.yaml").write_text(yaml.safe_dump(recipe))
        return str(out / "recipe.yaml")

    return recipe_of


@pytest.fixture(scope="module")
def done(recipe_of):
    return fit(recipe_of(), run="done")


def test_a_run_leaves_what_a_run_on_images_leaves(done):
    names = {path.name for path in done.run.iterdir()}
    assert {"weights.safetensors", "settings.yaml", "metrics.csv", "curves.png", "predictions.png", "samples"} <= names
    assert done.test.images == 4
    assert len(list((done.run / "samples").glob("*-true-*.npz"))) == 4


def test_the_picture_of_predictions_has_recordings_of_every_class(recipe_of, monkeypatch):
    drawn = []
    monkeypatch.setattr(results, "draw_predictions", lambda images, truths, *_: drawn.append(truths))
    monkeypatch.setattr(results, "_DRAWN", 2)  # fewer than there are, which lie class after class
    run = fit(recipe_of(), run="few", epochs=1).run
    assert drawn == [["left", "right"]]
    assert sorted(path.name for path in (run / "samples").iterdir()) == ["1-true-left.npz", "2-true-right.npz"]


def test_what_travels_with_the_weights(done):
    assert read_checkpoint(done.run).settings["preprocess"] == {
        "image_size": 16, "time_steps": 3, "frames_by": "number", "sensor": [18, 20], "channels": 2,
        "interpolation": "bilinear",
    }  # fmt: skip


def test_evaluation_scores_the_same(done, folder):
    checkpoint = read_checkpoint(done.run)
    assert evaluate_checkpoint(checkpoint, workers=0, batch_size=4) == done.test
    assert evaluate_checkpoint(checkpoint, str(folder), workers=0, batch_size=4) == done.test


def test_recordings_are_analysed_as_they_are_evaluated(done, tmp_path, capsys):
    subject = load_for_analysis(str(done.run), batch_size=4)
    assert [(x.shape[:2], len(labels)) for x, labels in subject.batches] == [((3, 4), 4)]  # T B
    with pytest.raises(SystemExit) as ended:
        main(["analyze", str(done.run), "--batch-size", "2", "--out", str(tmp_path / "report"), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert not ended.value.code and found["top1"] == pytest.approx(done.test.top1)
    assert (found["samples"], found["steps"]) == (4, 3)


def test_time_steps_are_chosen_at_run_time(done):
    checkpoint = read_checkpoint(done.run)
    losses = [evaluate_checkpoint(checkpoint, workers=0, time_steps=steps).loss for steps in (3, 6)]
    assert losses[0] == pytest.approx(done.test.loss) and losses[1] != pytest.approx(losses[0])


def test_a_recording_is_predicted_as_evaluation_sees_it(done, folder):
    predictor = Predictor(done.run)
    files = [folder / "test" / name / f"{i}.bin" for name in ("left", "right") for i in (0, 1)]
    said = predictor(files)
    assert len({row[0][1] for row in said}) > 1  # it sees that they differ
    right = [row[0][0] == file.parent.name for row, file in zip(said, files, strict=True)]
    assert 100 * sum(right) / 4 == done.test.top1
    alone = predictor([str(files[2])])[0]
    assert dict(alone) == pytest.approx(dict(said[2]), abs=1e-6)
    samples = sorted((done.run / "samples").iterdir())
    assert dict(predictor([samples[0]])[0]) == pytest.approx(dict(said[0]), abs=1e-6)
    with pytest.raises(ValueError, match=r"settings\.yaml cannot be read as a recording"):
        predictor([done.run / "settings.yaml"])


def test_the_command_line_evaluates_and_predicts_recordings(done, folder, capsys):
    def said(*words):
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        assert ended.value.code == 0
        return json.loads(capsys.readouterr().out)

    assert said("eval", done.run, "--json") == vars(done.test)
    assert said("eval", done.run, "--time-steps", 6, "--json")["loss"] != pytest.approx(done.test.loss)
    file = folder / "test" / "left" / "0.bin"
    (row,) = said("predict", done.run, file, "--json")
    assert row["file"] == str(file) and {top["label"] for top in row["top"]} == {"left", "right"}


def test_a_run_is_a_function_of_its_seed(recipe_of, done, without_pictures):
    weights = [read_checkpoint(fit(recipe_of(**how), run="again").run).weights for how in ({}, {"workers": 1})]
    first = read_checkpoint(done.run).weights
    assert all(torch.equal(first[key], other[key]) for other in weights for key in first)


def test_frames_by_time_and_three_channels(recipe_of, without_pictures):
    result = fit(recipe_of(frames_by="time", channels=3, cache=None), run="other", epochs=1)
    settings = read_checkpoint(result.run).settings
    assert settings["config"]["in_channels"] == 3
    assert (settings["preprocess"]["frames_by"], settings["preprocess"]["channels"]) == ("time", 3)


def test_a_teacher_takes_recordings_or_is_refused_before_the_run(recipe_of, done, monkeypatch):
    def prepared(**data):
        return prepare(read_recipe(recipe_of(**data), {"distill.teacher": str(done.run), "augment": {"clip_ops": {}}}))

    assert prepared().module.objective.teacher is not None
    of_images = nn.Sequential(nn.Conv2d(3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    monkeypatch.setattr(module_file, "load_teacher", lambda *_: Teacher(of_images, torch.ones(1), torch.zeros(1)))
    with pytest.raises(ValueError, match=r"distill\.teacher .* cannot take recordings of \[3, 3, 16, 16\] \(Runtime"):
        prepared(channels=3)


def test_a_broken_recording_is_named_or_left_out(recipe_of, folder, tmp_path, without_pictures):
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in folder.rglob("*.bin"):
        target = copy / file.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())
    (copy / "train" / "left" / "3.bin").write_bytes(b"broken")
    recipe = recipe_of(name=str(copy), validation=0)
    with pytest.raises(ValueError, match=r"left/3\.bin cannot be read .*1 of 16 recordings are broken"):
        fit(recipe, run="broken", out=str(tmp_path / "runs"))
    assert not (tmp_path / "runs").exists()
    assert fit(recipe, data={"skip_broken": True}, run="broken", out=str(tmp_path / "runs"), epochs=1).test.images == 4


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"augment": {"rand_augment": "rand-m9-n1"}}, "augment.rand_augment has no effect on the recordings"),
        ({"augment": {"clip_ops": {"spin": 3}}}, "there is no change 'spin'"),
        ({"data": {"sensor": [18, 12]}}, "events lie outside the 18 x 12 pixels of the sensor"),
        ({"data": {"mean": [0.5, 0.5]}}, "data.mean applies to images"),
        ({"batch_size": 100}, "has 16 training recordings, fewer than batch_size 100"),
        ({"model": {"in_channels": 3}}, "model.in_channels is 3, but .* has 2"),
        ({"model": {"time_steps": 2000}}, "cannot be cut into frames: 1501 events cannot be cut into 2000 frames"),
    ],
)
def test_settings_that_do_not_fit(recipe_of, tmp_path, changes, said):
    with pytest.raises(ValueError, match=said):
        fit(recipe_of(), **changes, run="refused", out=str(tmp_path / "runs"))
    assert not (tmp_path / "runs").exists()


def test_clip_ops_change_no_images(recipe_file, tmp_path):
    with pytest.raises(ValueError, match=r"augment\.clip_ops has no effect on the images"):
        fit(recipe_file, augment={"clip_ops": {"roll": 3}}, out=str(tmp_path), run="refused")


def test_images_are_not_evaluated_as_recordings(done, make_images):
    images = str(make_images(classes=("left", "right"), train=2, test=2))
    with pytest.raises(ValueError, match=r"has images, but .* was trained on recordings"):
        evaluate_checkpoint(read_checkpoint(done.run), images, workers=0)


# ---- mixup and cutmix of clips


@pytest.fixture
def clips():
    return torch.rand(6, 4, 2, 8, 8, dtype=torch.float64)  # B T C H W


@pytest.mark.parametrize("settings", [{"mixup_alpha": 0.5, "cutmix_alpha": 0}, {"mixup_alpha": 0, "cutmix_alpha": 1.0}])
def test_every_frame_and_polarity_is_mixed_as_it_would_be_alone(clips, settings):
    labels = torch.arange(6)
    mix = Mixup(**settings, label_smoothing=0.0, num_classes=6)
    for seed in range(10):
        np.random.seed(seed)
        mixed, targets = mix(clips.clone(), labels)
        assert mixed.shape == clips.shape and torch.allclose(targets.sum(-1), torch.ones(6))
        for t in range(4):
            for c in range(2):
                np.random.seed(seed)
                alone, same = mix(clips[:, t, c : c + 1].clone(), labels)
                assert torch.equal(mixed[:, t, c : c + 1], alone) and torch.equal(targets, same)


def test_cutmix_pastes_one_box_of_the_other_clip(clips):
    np.random.seed(0)
    mix = Mixup(mixup_alpha=0, cutmix_alpha=1.0, label_smoothing=0.0, num_classes=6)
    mixed, targets = mix(clips.clone(), torch.arange(6))
    other = (mixed != clips).flatten(1, 2)  # B T*C H W
    assert torch.equal(other, other[:1, :1].expand_as(other)) and other.any()
    assert torch.equal(mixed, torch.where(mixed != clips, clips.flip(0), clips))
    assert targets[0, 5].item() == pytest.approx(other[0, 0].double().mean().item())


def test_one_recording_of_a_larger_camera_does_not_stop_the_others(done, folder, tmp_path, capsys):
    large = tmp_path / "large.bin"
    large.write_bytes(atis([(5 * k, 100 + k % 50, 90 + k % 40, k % 2) for k in range(500)]))
    files = [folder / "test" / "left" / "0.bin", large, folder / "test" / "left" / "1.bin"]
    for more, status in ([], 2), (["--skip-broken"], 0):
        with pytest.raises(SystemExit) as ended:
            main(["predict", str(done.run), *map(str, files), "--json", *more])
        said = capsys.readouterr()
        assert ended.value.code == status
        assert [row["file"] for row in json.loads(said.out)] == [str(files[0]), str(files[2])]
        (line,) = said.err.splitlines()
        assert "large.bin" in line and "500 of its 500 events lie outside the 18 x 20 pixels" in line
        assert "1 of 3 files" in line
        assert "--" not in line  # predict has no option for it, and names none


def test_what_is_told_to_do_about_another_camera_is_what_eval_takes(done, folder, tmp_path, capsys):
    for name, shift in (("left", 0), ("right", 90)):
        (tmp_path / "set" / "test" / name).mkdir(parents=True)
        shutil.copytree(folder / "train" / name, tmp_path / "set" / "train" / name)
        rows = [(5 * k, shift + k % 18, k % 18, k % 2) for k in range(500)]
        (tmp_path / "set" / "test" / name / "0.bin").write_bytes(atis(rows))
    words = ["eval", str(done.run), "--data", str(tmp_path / "set"), "--json"]
    with pytest.raises(SystemExit) as ended:
        main(words)
    (line,) = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2 and "500 of its 500 events lie outside the 18 x 20 pixels" in line
    assert "eval: --skip-broken" in line
    with pytest.raises(SystemExit):
        main([*words, "--skip-broken"])
    assert json.loads(capsys.readouterr().out)["images"] == 1


def test_a_set_keeps_its_split_however_its_folder_is_spelt(folder, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.WARNING, "spikeformers")
    monkeypatch.chdir(tmp_path)
    shutil.copytree(folder / "train", "rec")
    for file in [*Path("rec").rglob("*.bin")]:  # 16 of each class, of which the default split tests one
        shutil.copy(file, file.with_name(f"again_{file.name}"))
    (tmp_path / "linked").symlink_to("rec")

    def tested(trained_on, data, **more):
        settings = {"recipe": {"data": {"name": trained_on, "test": 0.5, "split_seed": 7, **more}}}
        test = TestSet("run", {**settings, "preprocess": {"sensor": [18, 20]}}, data, workers=0)
        return [Path(test.sets.test[i][0].path).name for i in range(len(test.sets.test))]

    own = tested("rec", None)
    assert len(own) == 16 and own != tested("rec", None, split_seed=8)
    for spelt in ("rec/", "./rec", str(tmp_path / "rec"), "linked"):
        assert tested("rec", spelt) == tested(spelt, "rec") == own
    assert not caplog.text
    shutil.copytree("rec", "other")
    assert len(tested("rec", "other")) == 2
    assert caplog.messages == [
        "other is another set than rec, so its default test split is used, without the data.test 0.5 and "
        "data.split_seed 7 of training"
    ]
    caplog.clear()
    assert len(tested("rec", "other", test=0.1, split_seed=None)) == 2 and not caplog.text
    Path("digits").mkdir()  # a known set stays what its name says
    assert not _is_same_set("digits", str(tmp_path / "digits"))


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ((10, 10), "2 recordings"),
        ((20, 1), "2 recordings; 1 of 2 classes have no test sample"),
        ((10, 1), "1 recording; 1 of 2 classes have no test sample"),
    ],
)
def test_how_much_was_tested_is_said(recipe_of, folder, tmp_path, capsys, without_pictures, counts, said):
    data, run = tmp_path / "own", tmp_path / "runs" / "few"
    for name, count in zip(("left", "right"), counts, strict=True):
        (data / name).mkdir(parents=True)
        for i in range(count):  # of which the last tenth is to test on
            (data / name / f"{i:02}.bin").write_bytes((folder / "train" / name / f"{i % 8}.bin").read_bytes())
    train = ["train", recipe_of(name=str(data)), "--run", run.name, "--epochs", "1", "--out", str(run.parent)]
    for words, shown in ((train, f" % on {said}, with the weights"), (["eval", str(run)], f", {said}\n")):
        with pytest.raises(SystemExit):
            main(words)
        assert shown in capsys.readouterr().out


def test_a_model_learns_evaluates_and_predicts_by_windows(recipe_of, folder, without_pictures):
    result = fit(recipe_of(window_events=[500, 500]), run="windows", epochs=1)
    assert result.test.images == 4 * 3 and result.test.tested_on == "12 windows"
    checkpoint = read_checkpoint(result.run)
    assert checkpoint.settings["preprocess"]["window_events"] == [500, 500]
    assert evaluate_checkpoint(checkpoint, workers=0, batch_size=4) == result.test
    predictor = Predictor(result.run)
    files = [folder / "test" / name / "0.bin" for name in ("left", "right")]
    samples = [predictor.read(file) for file in files]
    assert [len(of_file) for of_file in samples] == [3, 3]
    with torch.inference_mode():
        logits = predictor.model(torch.from_numpy(np.stack(samples[1])).transpose(0, 1))
    shares = logits.softmax(-1).mean(0)
    assert dict(predictor(files)[1]) == pytest.approx(
        dict(zip(predictor.classes, shares.tolist(), strict=True)), abs=1e-6
    )


def test_runs_of_cifar10dvs_that_do_not_say_so_are_turned(done, folder, tmp_path):
    checkpoint = read_checkpoint(done.run)
    np.savez(tmp_path / "a.npz", t=np.arange(90), x=np.arange(90) % 18, y=np.arange(90) % 9, p=np.arange(90) % 2)
    upright = Predictor(checkpoint).read(tmp_path / "a.npz")[0]
    checkpoint.settings["recipe"]["data"]["name"] = "cifar10dvs"
    turned = Predictor(checkpoint).read(tmp_path / "a.npz")[0]
    assert not np.array_equal(turned, upright)
    test = TestSet(str(done.run), checkpoint.settings, str(folder), workers=0).prepared(Predictor(checkpoint).model)
    assert np.array_equal(test[0][0], Predictor(checkpoint).read(folder / "test" / "left" / "0.bin")[0])
    checkpoint.settings["preprocess"]["transposed"] = False
    assert np.array_equal(Predictor(checkpoint).read(tmp_path / "a.npz")[0], upright)
