"""The `spikeformers` command: what it prints, how it exits, and what it says of mistakes."""

import ast
import contextlib
import csv
import html
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import spikeformers as sf
from spikeformers import cli
from spikeformers.cli import COMMANDS, _terminal
from spikeformers.cli.predict import _together
from spikeformers.models import list_models
from spikeformers.training import list_recipes

TINY = [
    "--model.dim=16", "--model.depth=1", "--model.num_heads=2", "--model.strides=[2,2,1,1]", "--model.time_steps=2",
    "--schedule.warmup_epochs=0", "--epochs=1", "--batch_size=6", "--trainer.limit_train_batches=2",
]  # fmt: skip


def spikeformers(*words):
    """Runs the command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as left:
        cli.main([str(word) for word in words])
    return SimpleNamespace(status=left.value.code, out=out.getvalue(), err=err.getvalue())


def in_a_shell(*words, **kwargs):
    """Runs the command in a process of its own."""
    command = [sys.executable, "-m", "spikeformers", *map(str, words)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = subprocess.run(command, capture_output=True, text=True, env=environment, **kwargs)
    return SimpleNamespace(status=run.returncode, out=run.stdout, err=run.stderr)


def refused(ran, status=2):
    """The one line that a mistake is answered with."""
    assert ran.status == status, ran.err
    (line,) = ran.err.splitlines()
    assert line.startswith("spikeformers: ")
    return line.removeprefix("spikeformers: ")


def write_images(folder, classes=("ant", "bee"), size=(16, 16), mode="RGB"):
    noise = np.random.default_rng(0)
    for split, count in (("train", 10), ("test", 3)):
        for name in classes:
            (folder / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = noise.integers(0, 256, (*size, 3), np.uint8)
                Image.fromarray(pixels).convert(mode).save(folder / split / name / f"{i}.png")
    return folder


@pytest.fixture
def images(tmp_path):
    return write_images(tmp_path / "images")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of the command: what it printed, and its folder."""
    folder = tmp_path_factory.mktemp("trained")
    data = write_images(folder / "images")
    ran = spikeformers("train", "digits", "--data", data, *TINY, "--out", folder / "runs", "--run", "insects")
    ran.run, ran.data = folder / "runs" / "insects", data
    return ran


# ---- help


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",), ("help",)])
def test_help_names_every_command(words):
    ran = spikeformers(*words)
    assert (ran.status, ran.err) == (0, "")
    assert [line.split()[0] for line in ran.out.splitlines() if line.startswith("  ") and line[2] != " "] == [*COMMANDS]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_fits_a_screen_and_has_an_example(command):
    ran = spikeformers(command, "--help")
    assert (ran.status, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 120
    assert any(line.strip().removeprefix("example: ").startswith(f"spikeformers {command}") for line in lines[1:])


def test_version():
    assert spikeformers("--version").out == f"spikeformers {sf.__version__}\n"


def test_importing_the_command_is_light():
    listing = "import sys, spikeformers.cli; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = set(
        subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=True).stdout.split()
    )
    assert "spikeformers" in loaded
    assert not loaded & {"jsonargparse", "lightning", "matplotlib", "rich", "sklearn", "timm", "torchvision"}


# ---- list, info, recipes


def test_list():
    ran = spikeformers("list")
    assert ran.status == 0
    for name in list_models():
        assert name in ran.out
    rows = [" ".join(line.split()) for line in ran.out.splitlines()]
    assert "spikformer_4_384_cifar10 9,324,730 4 3 x 32 x 32 95.19 % CIFAR-10 arXiv:2209.15425" in rows


def test_list_a_pattern():
    for pattern in ("*cifar10", "4_384_cifar10"):
        names = re.findall(r"^ *(\w+_cifar10+) ", spikeformers("list", pattern).out, re.MULTILINE)
        assert names == list_models(pattern)
    assert "no model matches 'spikfromer': did you mean" in refused(spikeformers("list", "spikfromer"))


def test_list_for_programs():
    rows = json.loads(spikeformers("list", "spikformer_8_512", "--json").out)
    assert [row["name"] for row in rows] == ["spikformer_8_512"]
    assert (rows[0]["parameters"], rows[0]["top1"], rows[0]["image_size"]) == (29_689_384, 73.38, 224)


def test_list_and_info_of_detectors():
    ran = spikeformers("list", "v3_5m", "--task", "detection")
    rows = [" ".join(line.split()) for line in ran.out.splitlines()]
    assert "retinanet_sdt_v3_5m 1 3 x 224 x 224 80 arXiv:2411.16061" in rows
    assert "mask_rcnn_sdt_v3_5m" in ran.out
    assert "fpn_" not in ran.out
    assert "did you mean retinanet_sdt_v3_5m" in refused(
        spikeformers("list", "retinanet_sdt_v3_5n", "--task", "detection")
    )
    assert "there is no task 'boxes'" in refused(spikeformers("list", "--task", "boxes"))
    parts = json.loads(spikeformers("info", "mask_rcnn_sdt_v3_3m", "--json").out)["parts"]
    by_name = {part["name"]: part for part in parts if part["depth"] == 1}
    assert by_name["neck"]["shape"] == [1, 1, 256, 56, 56]
    assert sum(by_name[name]["parameters"] for name in ("stem", "blocks", "neck", "head")) == parts[0]["parameters"]


def test_info():
    ran = spikeformers("info", "spikformer_4_256_cifar10")
    model = sf.create_model("spikformer_4_256_cifar10")
    total = sum(p.numel() for p in model.parameters())
    head = next(line for line in ran.out.splitlines() if line.lstrip().startswith("spikformer_4_256_cifar10"))
    assert head.split()[-1] == f"{total:,}"
    described = json.loads(spikeformers("info", "spikformer_4_256_cifar10", "--json").out)
    assert described["config"] == model.config
    assert described["parts"][0]["parameters"] == total
    assert sum(part["parameters"] for part in described["parts"] if part["depth"] == 1) == total


def test_info_of_a_model_that_does_not_exist():
    assert "there is no model 'spikformer_8_51': did you mean spikformer_8_512" in refused(
        spikeformers("info", "spikformer_8_51")
    )


def test_recipes():
    ran = spikeformers("recipes")
    assert [line for line in ran.out.splitlines() if line and line[0] != " "] == list_recipes()
    assert "Spikformer on CIFAR-10, as its authors trained it." in ran.out and "Paper:" not in ran.out
    told = spikeformers("recipes", "spikformer_cifar").out
    assert "Zhou et al., ICLR 2023" in told
    assert "Models:    spikformer_4_384_cifar100, spikformer_4_256_cifar100, spikformer_2_384_cifar100" in told
    listed = json.loads(spikeformers("recipes", "qkformer_cifar", "--json").out)
    assert list(listed) == ["qkformer_cifar10", "qkformer_cifar100", "qkformer_cifar10dvs"]
    assert listed["qkformer_cifar10"]["models"][0] == "qkformer_4_384_cifar10"
    assert "no recipe matches 'nothing': choose from bccd_retinanet" in refused(spikeformers("recipes", "nothing"))


# ---- train, eval, predict


def test_train_ends_with_the_accuracy_and_what_to_try_next(trained):
    assert trained.status == 0
    results = json.loads((trained.run / "results.json").read_text())
    top1 = results["test"]["top1"]
    assert f"test accuracy {top1:.2f} % on 6 images, with the weights of epoch 1" in trained.out
    tries = [line.strip() for line in trained.out.splitlines() if line.startswith("  spikeformers ")]
    assert [line.split()[1] for line in tries] == ["predict", "eval", "train"]
    assert tries[1] == f"spikeformers eval {trained.run}"
    assert "weights.safetensors" in trained.out


def test_the_commands_to_try_next_work(trained):
    predict, evaluate, train = (
        line.split()[1:] for line in trained.out.splitlines() if line.startswith("  spikeformers ")
    )
    *words, pattern = predict
    assert spikeformers(*words, *sorted(Path(pattern).parent.glob(Path(pattern).name))).status == 0
    assert spikeformers(*evaluate).status == 0
    from spikeformers.training.provenance import like

    assert train[:2] == ["train", "--like"]
    assert like(train[2], train[3:]).model["neuron"] == "PLIF"


@pytest.mark.parametrize("checkpoint", [".", "weights.safetensors", "checkpoints/best.ckpt", "checkpoints/last.ckpt"])
def test_eval_gives_the_accuracy_of_the_run(trained, checkpoint):
    results = json.loads((trained.run / "results.json").read_text())["test"]
    ran = spikeformers("eval", trained.run / checkpoint, "--json")
    assert (ran.status, json.loads(ran.out)) == (0, pytest.approx(results))


def test_eval_for_people_and_in_other_batches(trained):
    results = json.loads((trained.run / "results.json").read_text())["test"]
    ran = spikeformers("eval", trained.run, "--batch-size", "4", "--workers", "1")
    assert ran.out.startswith(f"top-1 {results['top1']:.2f} %, top-5 100.00 %, loss {results['loss']:.4f}, 6 images")


@pytest.mark.parametrize("flags", [["--engine"], ["--engine", "--int8"]])
def test_an_engine_evaluates_and_predicts(trained, flags):
    results = json.loads((trained.run / "results.json").read_text())["test"]
    ran = spikeformers("eval", trained.run, *flags, "--json")
    assert ran.status == 0 and json.loads(ran.out)["images"] == results["images"]
    if flags == ["--engine"]:
        assert json.loads(ran.out)["loss"] == pytest.approx(results["loss"], rel=1e-3)
    sample = next((trained.run / "samples").iterdir())
    (said,) = json.loads(spikeformers("predict", trained.run, sample, *flags, "--json").out)
    assert {row["label"] for row in said["top"]} == {"ant", "bee"}


@pytest.mark.parametrize("words", [["eval"], ["predict"]])
def test_int8_is_for_an_engine(trained, words):
    ran = spikeformers(*words, trained.run, *(["x.png"] if words == ["predict"] else []), "--int8")
    assert "give --engine --int8" in refused(ran)


def test_eval_on_another_folder(trained, tmp_path):
    folder = write_images(tmp_path / "more")
    shutil.copy(folder / "test" / "ant" / "0.png", folder / "test" / "ant" / "9.png")
    assert json.loads(spikeformers("eval", trained.run, "--data", folder, "--json").out)["images"] == 7


def test_predict_reads_no_more_recordings_than_a_batch_holds():
    """Each may have hundreds of windows."""
    read = []

    def recordings():
        for name in "abcde":
            read.append(name)
            yield name, [0] * 20

    groups = _together(recordings())
    assert [name for name, _ in next(groups)] == read == ["a", "b"]
    assert [[name for name, _ in group] for group in groups] == [["c", "d"], ["e"]]


def test_predict(trained):
    samples = sorted((trained.run / "samples").iterdir())
    ran = spikeformers("predict", trained.run, *samples, "--json")
    rows = json.loads(ran.out)
    assert [row["file"] for row in rows] == [str(sample) for sample in samples]
    for row in rows:
        assert {said["label"] for said in row["top"]} == {"ant", "bee"}
        assert sum(said["confidence"] for said in row["top"]) <= 1 + 1e-6
    (one,) = json.loads(spikeformers("predict", trained.run, samples[0], "--top", "1", "--json").out)
    assert one["top"] == rows[0]["top"][:1]
    table = spikeformers("predict", trained.run, samples[0]).out
    assert f"{rows[0]['top'][0]['label']} {rows[0]['top'][0]['confidence']:.1%}" in table
    assert samples[0].name in table


@pytest.mark.parametrize(("option", "value"), [("--min-score", 0.5), ("--out", "found")])
def test_options_of_detectors_are_refused_by_a_classifier(trained, option, value):
    sample = next((trained.run / "samples").iterdir())
    said = refused(spikeformers("predict", trained.run, sample, option, value))
    assert said == f"{option} does not apply to {trained.run}, which classifies: leave it out"


def test_predict_past_files_that_are_no_images(trained, tmp_path):
    sample = next((trained.run / "samples").iterdir())
    (tmp_path / "notes.txt").write_text("no image")
    words = ("predict", trained.run, tmp_path / "notes.txt", sample, tmp_path / "nowhere.png", "--json")
    assert refused(spikeformers(*words)).startswith(
        f"{tmp_path / 'notes.txt'} cannot be read as an image (unknown format); leave it out"
    )
    ran = spikeformers(*words, "--skip-broken")
    assert (ran.status, [row["file"] for row in json.loads(ran.out)]) == (0, [str(sample)])
    assert ran.err.startswith(f"skipped 2 of 3 files, the first: {tmp_path / 'notes.txt'}")


def test_predict_on_a_folder(trained, tmp_path):
    by_name = spikeformers("predict", trained.run, *sorted((trained.run / "samples").iterdir()), "--json")
    assert json.loads(spikeformers("predict", trained.run, trained.run / "samples", "--json").out) == json.loads(
        by_name.out
    )
    (tmp_path / "0.png").write_text("no image")
    (tmp_path / ".1.png").write_text("hidden")
    said = refused(spikeformers("predict", trained.run, tmp_path))
    assert said.startswith(f"{tmp_path / '0.png'} cannot be read as an image (unknown format); leave it out")
    ran = spikeformers("predict", trained.run, tmp_path, trained.run / "samples", "--json", "--skip-broken")
    assert json.loads(ran.out) == json.loads(by_name.out)
    assert ran.err.startswith("skipped 1 of ")
    (tmp_path / "0.png").unlink()
    assert refused(spikeformers("predict", trained.run, tmp_path)).startswith(
        f"{tmp_path} holds no image that the model reads (.jpg "
    )


def test_train_and_eval_past_an_image_that_is_none(trained, images, tmp_path, caplog):
    for broken in (images / "train" / "ant" / "0.png", images / "test" / "ant" / "0.png"):
        broken.write_text("no image")
    words = ("train", "digits", "--data", images, *TINY, "--out", tmp_path, "--run", "r", "--data.skip_broken", "true")
    assert spikeformers(*words).status == 0
    assert "skipped 2 broken image file(s)" in caplog.text
    assert refused(spikeformers(*words[:-2], "--run", "s")).startswith(
        f"{images / 'train' / 'ant' / '0.png'} cannot be"
    )
    said = refused(spikeformers("eval", tmp_path / "r"))
    assert said.startswith(f"{images / 'test' / 'ant' / '0.png'} cannot be read as an image")
    assert json.loads(spikeformers("eval", tmp_path / "r", "--skip-broken", "--json").out)["images"] == 5


def test_settings_of_a_run_are_a_recipe(trained, tmp_path):
    words = ("train", trained.run / "settings.yaml", "--run", "again", "--out", tmp_path)
    assert spikeformers(*words).status == 0
    for name in ("results.json", "metrics.csv"):
        before, after = (run / name for run in (trained.run, tmp_path / "again"))
        if name == "metrics.csv":
            before, after = (
                [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file.open())]
                for file in (before, after)
            )
        else:
            before, after = before.read_text(), after.read_text()
        assert before == after


# ---- mistakes, in this process


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trian"], "there is no command 'trian': did you mean train"),
        (["list", "--jason"], "--jason"),
        (["list", "a", "b"], "see spikeformers list --help"),
        (["info"], "see spikeformers info --help"),
        (["predict"], "see spikeformers predict --help"),
        (["predict", "run"], "see spikeformers predict --help"),
        (["predict", "run", "a.png", "--top", "many"], "top"),
        (["predict", "run", "a.png", "--top", "0"], "--top 0 is below 1"),
        (["eval", "nowhere"], "there is no checkpoint nowhere: give a run folder or a weight file"),
        (["train", "digit"], "there is no recipe 'digit': did you mean digits,"),
        (["train", "mine.yaml"], "there is no recipe file mine.yaml"),
        (["train", "--epochs", "3"], "name a recipe before --epochs"),
        (["train", "digits", "--epoch", "3"], "there is no setting 'epoch': did you mean epochs"),
        (["train", "digits", "--epochs"], "--epochs has no value"),
        (["train", "digits", "--epochs", "many"], "epochs must be int, not 'many'"),
        (["train", "digits", "again"], "the word 'again' belongs to no field"),
        (["train", "digits", "--model", "spikformer_8_51"], "there is no model 'spikformer_8_51'"),
        (["train", "digits", "--model.dim", "-24"], "dim -24 is below 1"),
        (["train", "digits", "--model.mlp_ratio", "nan"], "mlp_ratio must be float, not 'nan'"),
        (["train", "digits", "--model.drop_path", "2"], "drop_path 2 is not in [0, 1)"),
        (["train", "digits", "--model.num_heads", "5"], "dim 96 is not a multiple of num_heads 5"),
        (
            ["train", "digits", "--model.image_size", "18"],
            "an image of 18 x 18 is not a multiple of the stem's stride 4",
        ),
        (["train", "digits", "--model.in_channels", "3"], "model.in_channels is 3, but digits has 1"),
        (["train", "digits", "--model.neuron", "LIFF"], "there is no neuron 'LIFF': did you mean LIF"),
        (["train", "digits", "--data", "digit"], "'digit' is neither a folder nor a known set; did you mean digits?"),
        (["train", "digits", "--batch_size", "2000"], "digits has 1295 training images, fewer than batch_size 2000"),
        (
            ["train", "digits", "--precision", "16-mixed", "--trainer.accelerator", "cpu"],
            "precision 16-mixed needs a GPU",
        ),
        (["train", "digits", "--trainer.strategy", "dpp"], "is refused by Lightning"),
        (["train", "digits", "--trainer.accelerator", "abacus"], "is refused by Lightning"),
        (["train", "digits", "--seed", "-1"], "seed -1 is not in [0, 2**32)"),
    ],
)
def test_mistakes_are_answered_in_one_line_and_leave_nothing(tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    assert said in refused(spikeformers(*words))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        MemoryError("Unable to allocate 3.5 GiB for an array with shape (9,)"),
        RuntimeError(
            "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes.\nError"
        ),
        RuntimeError("Storage size calculation overflowed with sizes=[9]"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    ],
)
@pytest.mark.parametrize(("command", "smaller"), [("train", "batch_size"), ("eval", "--batch-size"), ("info", "model")])
def test_memory_that_runs_short_is_told_with_what_to_make_smaller(monkeypatch, command, smaller, error):
    def short(_):
        raise error

    monkeypatch.setattr(f"spikeformers.cli.{command}.run", short)
    said = refused(spikeformers(command, "x"))
    assert said.startswith("there is not enough memory") and smaller in said
    monkeypatch.setattr(f"spikeformers.cli.{command}.run", lambda _: {}["x"])
    with pytest.raises(KeyError):  # what nobody foresaw is not covered up
        cli.main([command])


def test_an_empty_folder(tmp_path):
    (tmp_path / "empty").mkdir()
    ran = spikeformers("train", "digits", "--data", tmp_path / "empty", "--out", tmp_path / "runs")
    assert "has no 'train' folder; lay it out as" in refused(ran)
    (tmp_path / "empty" / "train").mkdir()
    (tmp_path / "empty" / "test").mkdir()
    ran = spikeformers("train", "digits", "--data", tmp_path / "empty", "--out", tmp_path / "runs")
    assert "has no class folders" in refused(ran)
    assert not (tmp_path / "runs").exists()


def test_class_folders_that_differ(images, tmp_path):
    (images / "test" / "bee").rename(images / "test" / "wasp")
    ran = spikeformers("train", "digits", "--data", images, "--out", tmp_path / "runs")
    assert "only in train bee, only in test wasp" in refused(ran)
    assert not (tmp_path / "runs").exists()


def test_data_that_is_not_the_checkpoints(trained, tmp_path):
    three = write_images(tmp_path / "three", classes=("ant", "bee", "fly"))
    assert "has 3 classes, but the model has 2" in refused(spikeformers("eval", trained.run, "--data", three))
    other = write_images(tmp_path / "other", classes=("ant", "fly"))
    said = refused(spikeformers("eval", trained.run, "--data", other))
    assert f"{other} has the class 'fly' in place of 'bee' of" in said
    grey = sf.create_model("spikformer_4_256_cifar10", dim=32, depth=1, num_heads=2, in_channels=1, num_classes=2)
    file = sf.save_pretrained(grey, tmp_path / "grey.safetensors")
    said = refused(spikeformers("eval", file, "--data", trained.data))
    assert "has images of 3 channels, but the model takes 1" in said
    assert "does not record its training data: give --data" in refused(spikeformers("eval", file))


def test_a_set_that_is_not_there_without_network(tmp_path, monkeypatch):
    def no_network(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr("torchvision.datasets.utils.urllib.request.urlopen", no_network)
    words = ("train", "spikformer_cifar10", "--precision", "32-true", "--data.root", tmp_path / "data")
    assert f"cifar10 is not in '{tmp_path / 'data'}'" in refused(spikeformers(*words, "--out", tmp_path / "runs"))
    assert not (tmp_path / "runs").exists()


def test_a_run_that_exists_and_a_file_in_the_way(trained, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in trained.run.rglob("*")}
    words = ("train", "digits", "--data", trained.data, *TINY, "--run", "insects", "--out")
    assert "exists: continue it with --resume" in refused(spikeformers(*words, trained.run.parent))
    assert {path: path.stat().st_mtime_ns for path in trained.run.rglob("*")} == before
    (tmp_path / "file").write_text("mine")
    said = refused(spikeformers(*words, tmp_path / "file"))
    assert "cannot be written (Not a directory): choose another folder with --out" in said


def test_resume_of_a_finished_run(trained):
    words = ("train", "digits", "--data", trained.data, *TINY, "--run", "insects", "--out", trained.run.parent)
    ran = spikeformers(*words, "--resume")
    assert (ran.status, ran.out.splitlines()[-5:]) == (0, trained.out.splitlines()[-5:])
    said = refused(spikeformers(*words, "--resume", "--model.dim=32"))
    assert "model.dim is 32, but" in said


# ---- checkpoints that are not what they should be


class Hostile:
    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return os.system, (f"touch {self.file}",)


def test_checkpoints_that_are_damaged_or_hostile(trained, tmp_path):
    weights = (trained.run / "weights.safetensors").read_bytes()
    (tmp_path / "short.safetensors").write_bytes(weights[: len(weights) // 2])
    (tmp_path / "text.safetensors").write_text("no weights")
    checkpoint = (trained.run / "checkpoints" / "last.ckpt").read_bytes()
    (tmp_path / "short.ckpt").write_bytes(checkpoint[: len(checkpoint) // 2])
    (tmp_path / "empty.ckpt").write_bytes(b"")
    torch.save({"state_dict": {"w": torch.zeros(1)}, "more": Hostile(tmp_path / "pwned")}, tmp_path / "hostile.ckpt")
    (tmp_path / "folder").mkdir()
    sample = next((trained.run / "samples").iterdir())
    for name in ("short.safetensors", "text.safetensors", "short.ckpt", "empty.ckpt", "hostile.ckpt", "folder"):
        for words in (("eval", tmp_path / name), ("predict", tmp_path / name, sample)):
            assert str(tmp_path / name) in refused(spikeformers(*words))
    assert not (tmp_path / "pwned").exists()


def test_identify_prints_what_to_build_and_what_no_key_tells(trained, tmp_path):
    ran = spikeformers("identify", trained.run)
    assert ran.status == 0
    assert 'create_model("spikformer", dim=16, depth=1' in ran.out
    assert "its config says so" in ran.out
    assert "2 classes, 3 channels, no second head: every key and shape fits" in ran.out

    model = sf.create_model("spikformer_2_384_cifar10", num_classes=7)
    torch.save({"state_dict": model.state_dict()}, tmp_path / "cml_2_384.pth")
    ran = spikeformers("identify", tmp_path / "cml_2_384.pth")
    assert ran.status == 0
    assert "  keys and shapes do not determine: num_heads 12, strides (1, 1, 2, 2), image_size 32" in ran.out
    rows = json.loads(spikeformers("identify", tmp_path / "cml_2_384.pth", "--json").out)
    assert rows[0]["call"] == 'create_model("spikformer_2_384_cifar10", num_classes=7)'
    assert (rows[0]["num_classes"], rows[0]["heads"], rows[0]["fit"]["missing"]) == (7, 1, [])
    assert rows[0]["untold"]["num_heads"] == 12


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({}, "holds no weights: its entries are none"),
        ([torch.ones(2)], "holds a list, not a dict of weights: save a state dict"),
        ({"w": torch.ones(2)}, "resembles no model of spikeformers: 1 keys, w, ..."),
        ({"w": torch.ones(2), "args": Hostile("pwned")}, "is refused: it asks to build posix.system"),
    ],
)
def test_identify_of_files_that_hold_nothing(tmp_path, monkeypatch, content, said):
    monkeypatch.chdir(tmp_path)
    torch.save(content, "file.pth")
    assert said in refused(spikeformers("identify", "file.pth"))
    assert not Path("pwned").exists()
    whole = Path("file.pth").read_bytes()
    Path("file.pth").write_bytes(whole[: len(whole) // 2])
    assert "file.pth is not a readable checkpoint" in refused(spikeformers("identify", "file.pth"))
    assert "there is no checkpoint nowhere.pth" in refused(spikeformers("identify", "nowhere.pth"))


def test_weights_of_another_model(trained, tmp_path):
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    weights = load_file(trained.run / "weights.safetensors")
    with safe_open(trained.run / "weights.safetensors", "pt") as file:
        settings = json.loads(file.metadata()["spikeformers"])
    settings["config"]["depth"] = 2
    save_file(weights, tmp_path / "other.safetensors", {"spikeformers": json.dumps(settings)})
    said = refused(spikeformers("eval", tmp_path / "other.safetensors"))
    assert "does not fit spikformer: " in said
    assert "missing (blocks.1.attn.core.q.conv.weight" in said

    save_file(weights, tmp_path / "bare.safetensors")
    said = refused(spikeformers("eval", tmp_path / "bare.safetensors", "--data", trained.data))
    assert f"`spikeformers identify {tmp_path / 'bare.safetensors'}` says what it looks like" in said
    assert "does not say which model it holds: name it with --model" in said
    words = ("eval", tmp_path / "bare.safetensors", "--data", trained.data, "--model")
    assert "does not fit spikformer_4_256_cifar10" in refused(spikeformers(*words, "spikformer_4_256_cifar10"))
    assert "there is no model 'spikformer_4_25'" in refused(spikeformers(*words, "spikformer_4_25"))


@pytest.mark.parametrize("command", ["eval", "export"])
def test_a_model_is_named_only_for_a_file_that_stores_none(trained, command, tmp_path):
    words = (command, trained.run, "--model")
    said = refused(spikeformers(*words, "spikformer_4_256_cifar10"))
    file = trained.run / "weights.safetensors"
    assert said == f"{file} says that it holds spikformer, not spikformer_4_256_cifar10: leave out --model"
    if command == "eval":
        assert spikeformers(*words, "spikformer").out == spikeformers("eval", trained.run).out


def test_a_checkpoint_may_not_name_parts_that_are_not_ours(trained, tmp_path):
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    part = tmp_path / "part.py"
    part.write_text(f"import pathlib\npathlib.Path({str(tmp_path / 'pwned')!r}).touch()\nclass N: pass")
    with safe_open(trained.run / "weights.safetensors", "pt") as file:
        settings = json.loads(file.metadata()["spikeformers"])
    for key, value in (("neuron", f"{part}:N"), ("name", f"{part}:N")):
        config = {**settings["config"], key: value}
        weights = load_file(trained.run / "weights.safetensors")
        save_file(weights, tmp_path / "w.safetensors", {"spikeformers": json.dumps({**settings, "config": config})})
        assert f"{part}:N" in refused(spikeformers("eval", tmp_path / "w.safetensors"))
    assert not (tmp_path / "pwned").exists()


def test_a_loss_that_is_not_finite(images, tmp_path):
    words = ("train", "digits", "--data", images, *TINY, "--out", tmp_path / "runs", "--optimizer.lr", "1e30")
    said = refused(spikeformers(*words, "--epochs", "9"))
    assert re.match(r"the loss is nan (at epoch \d, step \d|in evaluation after epoch \d): training stopped", said)


def test_ctrl_c_before_training(tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("spikeformers.data.sets.load_images", interrupted)
    assert refused(spikeformers("train", "digits", "--out", tmp_path / "runs"), status=130) == "interrupted"
    assert not (tmp_path / "runs").exists()


# ---- mistakes, in a process of its own: one line on stderr, no traceback, nothing left


def test_a_broken_image_met_in_training_by_a_loading_process(images, tmp_path):
    broken = images / "train" / "bee" / "3.png"
    broken.write_text("no image")
    words = ("train", "digits", "--data", images, *TINY, "--data.workers", "2", "--out", tmp_path / "runs")
    said = refused(in_a_shell(*words, "--trainer.limit_train_batches", "1.0", "--epochs", "9"))
    assert said.startswith(f"{broken} cannot be read as an image")
    assert not (tmp_path / "runs" / "digits").exists()


def test_the_installed_command_answers_a_mistake_in_one_line():
    command = Path(sys.executable).with_name("spikeformers")
    run = subprocess.run([command, "trian"], capture_output=True, text=True)
    ran = SimpleNamespace(status=run.returncode, err=run.stderr)
    assert refused(ran).startswith("there is no command 'trian'")


@pytest.mark.parametrize("threads", [0, -1, 99_999_999_999])
def test_threads_that_no_processor_has(threads):
    for words in (("predict", "runs/x", "a.png"), ("serve", "runs/x"), ("bench", "spikformer_4_256_cifar10")):
        said = refused(spikeformers(*words, "--threads", threads))
        assert said == f"--threads {threads} is not in 1 to 1024: give the number of free cores"


def test_output_that_is_not_read_to_its_end_is_no_mistake():
    command = f"{sys.executable} -m spikeformers recipes --json"
    run = subprocess.run(["bash", "-c", f"set -o pipefail; {command} | true"], capture_output=True, text=True)
    assert (run.returncode, run.stdout, run.stderr) == (141, "", "")


@pytest.mark.slow
def test_two_processes_train_one_model(images, tmp_path):
    """Over gloo on the CPU; the first process alone writes and speaks."""
    words = ("train", "digits", "--data", images, *TINY, "--out", tmp_path, "--run", "two", "--epochs", "2")
    switches = ("--trainer.accelerator", "cpu", "--trainer.devices", "2", "--trainer.strategy", "ddp")
    command = Path(sys.executable).with_name("spikeformers")
    run = subprocess.run(
        [command, *map(str, (*words, *switches, "--batch_size", "4"))],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("test accuracy") == 1
    rows = list(csv.DictReader((tmp_path / "two" / "metrics.csv").open()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert torch.load(tmp_path / "two" / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 4
    assert yaml.safe_load((tmp_path / "two" / "settings.yaml").read_text())["trainer"]["devices"] == 2
    assert len(list((tmp_path / "two" / "tensorboard").glob("events*"))) == 1


def test_bench():
    words = ["bench", "spikformer_4_384_cifar10", "--batch-size", 2, "--time-steps", 1, "--repeats", 1]
    says = json.loads(spikeformers(*words, "--json").out)
    assert [way["way"] for way in says["ways"]] == ["plain", "lean", "spikingjelly"]
    plain, lean, _ = says["ways"]
    assert lean["peak"] < plain["peak"]
    assert min(says["products"].values()) > 0
    assert re.search(r"plain +[\d.]+ images/s +[\d.]+ images/s", spikeformers(*words, "--ways", "plain").out)
    assert "no way 'fast' to run a model: choose from plain, lean" in refused(spikeformers(*words, "--ways", "fast"))
    assert "--batch-size 0 is below 1" in refused(spikeformers("bench", "sdt_8_384", "--batch-size", 0))
    assert "SpikingJelly has no sdt_2_256_cifar10" in refused(
        spikeformers("bench", "sdt_2_256_cifar10", "--ways", "spikingjelly")
    )


# ---- analyze, compare-energy


def test_analyze(trained, tmp_path):
    ran = spikeformers("analyze", trained.run, "--out", tmp_path / "report", "--images", 4, "--batch-size", 3)
    assert (ran.status, ran.err) == (0, "")
    says = json.loads((tmp_path / "report" / "summary.json").read_text())
    assert (says["samples"], says["steps"], says["about"]["weights"]) == (4, 2, "trained")
    assert f"{says['energy']['strict']['millijoules']:.4g} mJ" in ran.out and says["verdict"] in ran.out
    assert f"{tmp_path}/report/index.html has the full report" in ran.out
    again = spikeformers("analyze", trained.run, "--out", tmp_path / "report", "--images", 4, "--mac", 1, "--json")
    assert json.loads(again.out)["picojoules"] == {"ac": 0.9, "mac": 1.0}


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (["analyze", "RUN", "--out", "FILE"], "--out"),
        (["analyze", "RUN", "--out", "FILE/deeper"], "--out"),
        (["compare-energy", "RUN", "--csv", "nodir/x.csv"], "--csv"),
        (["compare-energy", "RUN", "--csv", "."], "--csv"),
        (["compare-energy", "RUN", "--csv", "FILE/x.csv"], "--csv"),
        (["export", "RUN", "--out", "FILE"], "--out"),
        (["audit", "RUN", "--out", "FILE/deeper"], "--out"),
        (["train", "digits", "--out", "FILE"], "--out"),
        (["compare", "digits", "--swap", "neuron=LIF,PLIF", "--out", "FILE"], "--out"),
    ],
)
def test_outputs_are_tried_before_the_work(trained, tmp_path, monkeypatch, words, option):
    """Data are not even read, and weights neither."""

    def work(*_, **__):
        raise AssertionError("work has begun")

    monkeypatch.chdir(tmp_path)
    for name in ("checkpoints.read._read_safetensors", "data.sets.load_images"):
        monkeypatch.setattr(f"spikeformers.{name}", work)
    Path("FILE").write_text("mine")
    said = refused(spikeformers(*(trained.run if word == "RUN" else word for word in words)))
    assert "cannot be written (" in said and said.endswith(f"with {option}")
    assert [entry.name for entry in tmp_path.iterdir()] == ["FILE"] and Path("FILE").read_text() == "mine"


def test_analyze_a_new_model(images, tmp_path):
    ran = spikeformers(
        "analyze", "spikingformer_4_256_cifar10", "--data", images, "--out", tmp_path / "r", "--images", 2
    )
    says = json.loads((tmp_path / "r" / "summary.json").read_text())
    assert ran.status == 0 and says["about"]["weights"] == "random, norms set"
    assert says["energy"]["spikingformer"]["ac"] > 0 and says["verdict"].startswith("Spike-driven")


def test_what_cannot_be_analyzed(trained, tmp_path):
    def said(*words):
        return refused(spikeformers("analyze", *words, "--out", tmp_path / "r"))

    assert "give --data, a set's name or a folder" in said("sdt_2_256_cifar10")
    assert "there is no model 'runs/nothing'" in said("runs/nothing", "--data", "digits")
    assert "there is no model 'runs/nothing'" in said("runs/nothing")
    assert "digits has 10 classes, but" in said(trained.run, "--data", "digits")
    assert "no energy convention 'mine'" in said(trained.run, "--convention", "mine")
    assert "0 images in batches of 32 leave nothing to run" in said(trained.run, "--images", 0)
    assert not (tmp_path / "r").exists()


def test_compare_energy(trained, images, tmp_path):
    words = ("compare-energy", trained.run, "spikingformer_4_256_cifar10", "--data", trained.data, "--images", 2)
    ran = spikeformers(*words, "--csv", tmp_path / "energy.csv")
    assert (ran.status, ran.err) == (0, "")
    rows = json.loads(spikeformers(*words, "--json").out)
    assert [row["model"] for row in rows] == [str(trained.run), "spikingformer_4_256_cifar10"]
    assert rows[0]["top1_of"] == "test" and rows[1]["top1_of"] == "published"
    with (tmp_path / "energy.csv").open() as table:
        written = list(csv.DictReader(table))
    assert float(written[0]["mj_strict"]) == rows[0]["mj_strict"]
    assert f"{rows[0]['mj_strict']:.4g} mJ" in ran.out and f"{rows[0]['parameters']:,}" in ran.out
    assert "published: accuracy of the trained model" in ran.out and "different test sets" not in ran.out
    assert f"{rows[0]['twin_millijoules']:.4g} mJ" in ran.out and "breaks even at" in ran.out
    dear = json.loads(spikeformers(*words, "--memory", "dram=325", "--json").out)
    assert dear[0]["mj_memory"] > rows[0]["mj_memory"] and dear[0]["mj_strict"] == rows[0]["mj_strict"]
    assert "dram=much is not a setting" in refused(spikeformers(*words, "--memory", "dram=much"))


def test_compare_energy_of_models_of_other_classes(trained, tmp_path):
    """Runs that tell two and three classes apart, on a set of four, and each on its own: no answer is looked at."""
    three = write_images(tmp_path / "three", classes=("ant", "bee", "cat"))
    four = write_images(tmp_path / "four", classes=("cat", "cow", "dog", "fox"))
    ran = spikeformers("train", "digits", "--data", three, *TINY, "--out", tmp_path / "runs", "--run", "three")
    assert ran.status == 0
    runs = (trained.run, tmp_path / "runs" / "three")
    for models, data in (((*runs, "spikingformer_4_256_cifar10"), ("--data", four)), (runs, ())):
        ran = spikeformers("compare-energy", *models, *data, "--images", 2, "--json")
        assert (ran.status, ran.err) == (0, "")
        rows = json.loads(ran.out)
        assert len(rows) == len(models) and all(row["mj_strict"] > 0 and row["images"] == 2 for row in rows)
        assert len({row["data"] for row in rows}) == (1 if data else 2)
    assert "the models read different test sets" in spikeformers("compare-energy", *runs, "--images", 2).out
    assert "four has 4 classes, but" in refused(spikeformers("analyze", runs[1], "--data", four))


def test_what_is_not_counted_is_named(tmp_path):
    """Of an attention of one's own, by an operation that nobody knows the cost of."""
    (tmp_path / "own.py").write_text(
        """import torch
import spikeformers as sf

class Odd(sf.layers.attention.SSA):
    def attend(self, *arguments):
        return torch.polygamma(1, 1 + super().attend(*arguments))

def odd(*, num_classes: int = 4, in_channels: int = 1):
    tiny = dict(dim=16, depth=1, num_heads=2, image_size=16, time_steps=2)
    return sf.create_model(
        "spikformer_4_256_cifar10", **tiny, attention=Odd, num_classes=num_classes, in_channels=in_channels
    )
"""
    )
    said = "not counted in any total: blocks.0.attn.core.polygamma1"
    words = (f"{tmp_path}/own.py:odd", "--data", write_images(tmp_path / "images"), "--images", 2)
    compared = spikeformers("compare-energy", *words)
    assert compared.status == 0 and f"own.py:odd: {said}" in compared.out
    rows = json.loads(spikeformers("compare-energy", *words, "--json").out)
    assert rows[0]["uncounted"] == "blocks.0.attn.core.polygamma1"
    analyzed = spikeformers("analyze", *words, "--out", tmp_path / "report")
    assert analyzed.status == 0 and said in analyzed.out and "except for unknown operations" not in analyzed.err
    says = json.loads((tmp_path / "report" / "summary.json").read_text())
    assert says["uncounted"] == ["blocks.0.attn.core.polygamma1"]
    assert "the cost is unknown" in (tmp_path / "report" / "index.html").read_text()


OWN = """import torch
from torch import nn

import beside

class Net(nn.Module):
    def __init__(self, centred=False):
        super().__init__()
        self.first, self.last, self.centred = nn.Linear(6, 5), nn.Linear(5, 2), centred

    def forward(self, x):
        x = self.first(x - x.mean(0) if self.centred else x)
        return self.last((x > 0).to(x) + x - x.detach())

def sound():
    return Net(), torch.randn(3, 6)

def leaking():
    return Net(centred=True)

def sized(size):
    return Net()

def nothing():
    return None

def broken():
    return Net().layers

word = "net"
"""


@pytest.fixture
def own_model(tmp_path, monkeypatch):
    """A folder with a user's own model, which imports a file beside it."""
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "beside.py").touch()
    monkeypatch.setattr(sys, "path", [*sys.path])
    return tmp_path / "own.py"


def test_audit_of_a_model_in_a_file_of_ones_own(own_model, tmp_path):
    ran = spikeformers("audit", f"{own_model}:sound")
    assert (ran.status, ran.err) == (0, "") and "batch leak" in ran.out and "finding" not in ran.out
    out = tmp_path / "page"
    ran = spikeformers("audit", f"{own_model}:leaking", "--shape", "6", "--out", out)
    assert (ran.status, ran.err) == (1, "") and "the model itself (Net)" in ran.out
    assert {file.name for file in out.iterdir()} == {"index.html", "audit.json"}
    ran = spikeformers("audit", f"{own_model}:leaking", "--shape", "6", "--json")
    says = json.loads(ran.out)
    assert ran.status == 1 and says == json.loads((out / "audit.json").read_text())
    assert [check["check"] for check in says["checks"] if check["found"]] == ["batch leak"]
    ran = spikeformers("audit", f"{own_model}:leaking", "--shape", "6", "--skip", "batch leak")
    assert ran.status == 0 and "batch leak" not in ran.out


def test_audit_of_a_model_by_name_and_of_a_run(trained):
    skip = ("--skip", "spike-driven,gradients,autocast", "--batch-size", 2)
    ran = spikeformers("audit", trained.run, *skip, "--json")
    assert ran.status == 0 and json.loads(ran.out)["about"]["inputs"].endswith(", B")
    ran = spikeformers("audit", trained.run, *skip, "--data", trained.data)
    assert ran.status == 0, ran.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["own.py:leaking"], "does not say what it takes: give the shape of one sample, as --shape 3,32,32"),
        (["own.py:leaking", "--shape", "3,x"], "--shape 3,x is not a shape: give whole numbers"),
        (["own.py:leaking", "--shape", "7"], "does not run on inputs of shape [3, 7]: RuntimeError"),
        (["own.py:leaking", "--shape", "6", "--batch-size", "1"], "a batch of 1 has nothing to compare"),
        (["own.py:leaking", "--shape", "6", "--layout", "TB"], "give their number with --steps"),
        (["own.py:leaking", "--shape", "6", "--layout", "X"], "there is no layout 'X': choose from B, TB, BT"),
        (["own.py:leaking", "--shape", "6", "--skip", "leaks"], "there is no check 'leaks': choose from batch leak"),
        (["own.py:leaking", "--shape", "6", "--steps", "0"], "--steps 0 is below 1"),
        (["own.py:leaking", "--shape", "6", "--data", "digits"], "--data for test images: leave out one of them"),
        (["own.py:leaking", "--shape", "6", "--root", "sets"], "give --data too, or leave out --root"),
        (["own.py:sized", "--shape", "6"], "own.py:sized needs size: name a function that needs no arguments"),
        (["own.py:nothing"], "own.py:nothing returns NoneType: return a module"),
        (["own.py:broken"], "AttributeError: 'Net' object has no attribute 'layers'"),
        (["own.py:word"], "own.py:word is 'net': name a function that returns a module"),
        (["own.py:sond"], "own.py has no sond: did you mean sound"),
        (["nowhere"], "there is no model 'nowhere'"),
    ],
)
def test_what_cannot_be_audited(own_model, monkeypatch, words, said):
    monkeypatch.chdir(own_model.parent)
    assert said in refused(spikeformers("audit", *words))


# ---- what comes from outside is plain text, and none of it is cut

STRANGE = [
    "cat[red].png",
    "x[/b].png",
    "[bold]a.png",
    ":smile: $x_1^{$.png",
    "two\nlines\x1b[31m.png",
    "猫 ü é\u00a0.png",
    "n" * 240,
]


def test_tables_take_text_for_what_it_is_and_cut_nothing(capsys):
    table = _terminal.make_table("[b]head[/b]", *STRANGE)
    table.add_row("[/i]", *STRANGE)
    _terminal.show(table)
    head, _, row = (line.strip(" ") for line in capsys.readouterr().out.splitlines() if line.strip())
    shown = [name.replace("\n", "\\n").replace("\x1b", "\\x1b") for name in STRANGE]
    for line, first in ((head, "[b]head[/b]"), (row, "[/i]")):
        assert re.split(" {2,}", line) == [first, *shown]


def test_a_terminal_folds_what_it_has_no_room_for():
    class Narrow(io.StringIO):
        def isatty(self):
            return True

    table = _terminal.make_table("file", "top 1")
    table.add_row("a" * 100, "b" * 100)
    console = _terminal.console_of(file := Narrow())
    console.width = 40
    console.print(table)
    assert "…" not in file.getvalue()
    assert (file.getvalue().count("a"), file.getvalue().count("b")) == (100, 100)


def test_no_command_prints_in_any_other_way():
    """Constants and JSON need no care; all else goes through `say`, `make_table` and `console_of`."""
    for path in Path(cli.__file__).parent.glob("*.py"):
        if path.name == "_terminal.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom | ast.Import):
                names = [getattr(node, "module", None), *(alias.name for alias in node.names)]
                assert not [n for n in names if n and n.startswith("rich") and n != "rich.progress"], path
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
                for argument in node.args:
                    plain = isinstance(argument, ast.Name | ast.Constant) or ast.unparse(argument).startswith(
                        "json.dumps("
                    )
                    assert plain, f"{path}:{node.lineno}"


def test_names_of_files_and_classes_come_out_as_they_are(tmp_path, monkeypatch):
    """Through training, its pictures, `eval`, `predict`, `analyze`, `compare-energy` and what is said of mistakes."""
    classes = ["ant[red]", "b[b]ee $x_1^{$", "c" * 200, "猫\nline"]
    monkeypatch.chdir(tmp_path)
    data = write_images(tmp_path / "a [data] set", classes=classes)
    out = tmp_path / "my [runs]"
    ran = spikeformers("train", "digits", "--data", data, *TINY, "--out", out, "--run", "x[b]")
    assert ran.status == 0, ran.err
    run = out / "x[b]"
    tries = [shlex.split(line)[1:] for line in ran.out.splitlines() if line.startswith("  spikeformers ")]
    assert tries[1] == ["eval", str(run)] and tries[0][:2] == ["predict", str(run)]
    assert spikeformers(*tries[1]).status == 0

    sample = next((data / "test" / classes[0]).iterdir())
    files = [tmp_path / name for name in STRANGE[:-1]]
    for file in files:
        file.parent.mkdir(exist_ok=True)
        shutil.copy(sample, file)
    said = spikeformers("predict", run, *files)
    assert (said.status, said.err) == (0, "")
    shown = [str(file).replace("\n", "\\n").replace("\x1b", "\\x1b") for file in files]
    rows = [line.strip() for line in said.out.splitlines() if line.strip()][2:]
    assert [row.partition("  ")[0] for row in rows] == shown
    for name in classes:
        assert said.out.count(name.replace("\n", "\\n")) == len(files)

    ran = spikeformers("analyze", run, "--out", tmp_path / "re[b]port", "--images", 2)
    assert ran.status == 0 and f"{tmp_path}/re[b]port/index.html has the full report" in ran.out
    page = (tmp_path / "re[b]port" / "index.html").read_text()
    assert html.escape(classes[0]) in page or html.escape(classes[1]) in page
    ran = spikeformers("compare-energy", run, "--images", 2)
    assert ran.out.split("\n")[1].split("  ")[-1].strip() == str(run)
    assert spikeformers("identify", run).out.startswith(f"{run}: ")
    assert "'re[d]\\nx'" in refused(spikeformers("list", "re[d]\nx"))
    assert "no[/b]where\\x1b.png" in refused(spikeformers("predict", run, "no[/b]where\x1b.png"))
