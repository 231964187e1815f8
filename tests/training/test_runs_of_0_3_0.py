"""Runs and checkpoints that version 0.3.0 wrote load, evaluate, predict and go on.

`of_0_3_0/runs.tar.xz` holds what 0.3.0 left of three runs, but for pictures and logs: `done`, six epochs on images;
`cut`, the same interrupted after the second step of its fourth epoch; `clips`, on recordings. Provenance lists fewer
packages, as it is long. `computed.json` is what 0.3.0 computed with them. Their data are made here again.
"""

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file

import spikeformers as sf
from spikeformers.checkpoints.read import read_checkpoint
from spikeformers.cli import main
from spikeformers.deploy import Predictor
from spikeformers.evaluation.evaluate import evaluate_checkpoint
from spikeformers.ops.spike_product.build import OFF
from spikeformers.training import fit
from spikeformers.training.module import TrainingModule

HERE = Path(__file__).parent / "of_0_3_0"
COMPUTED = json.loads((HERE / "computed.json").read_text())


def write_images(folder):
    rng = np.random.RandomState(0)
    for part, count in (("train", 20), ("test", 4)):
        for label, name in enumerate(("red", "green", "blue")):
            (folder / part / name).mkdir(parents=True)
            for i in range(count):
                pixels = rng.randint(0, 100, (16, 16, 3), dtype=np.uint8)
                pixels[..., label] += 100
                Image.fromarray(pixels).save(folder / part / name / f"{i}.png")


def write_recordings(folder):
    rng = np.random.RandomState(0)
    for part, count in (("train", 6), ("test", 2)):
        for label, name in enumerate(("left", "right")):
            (folder / part / name).mkdir(parents=True)
            for i in range(count):
                events = [(5 * k, 8 * label + rng.randint(8), rng.randint(16), rng.randint(2)) for k in range(400)]
                file = b"".join(bytes([x, y]) + (p << 23 | t).to_bytes(3, "big") for t, x, y, p in events)
                (folder / part / name / f"{i}.bin").write_bytes(file)


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A folder to be in, with `images`, `recordings` and `runs`, as it was when the runs were trained."""
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "images")
    write_recordings(tmp_path / "recordings")
    with tarfile.open(HERE / "runs.tar.xz") as archive:
        archive.extractall("runs", filter="data")


def inputs(run):
    if run == "clips":
        x = (torch.arange(2 * 2 * 2 * 16 * 16) * 37 % 7).float().view(2, 2, 2, 16, 16)  # T B C H W
        x[:, 1, :, :, 8:] = 0
    else:
        x = ((torch.arange(2 * 3 * 16 * 16) * 37 % 251).float() / 60 - 2).view(2, 3, 16, 16)
        x[1] = x[1].abs()
    return x


@pytest.mark.parametrize("run", COMPUTED["logits"])
def test_weights_compute_what_they_did(run):
    path, x, then = f"runs/{run}", inputs(run), torch.tensor(COMPUTED["logits"][run])
    model = sf.from_pretrained(path)
    with torch.no_grad():
        torch.testing.assert_close(model(x), then)
        fresh = sf.create_model(**read_checkpoint(path).config)
        assert not torch.allclose(fresh.eval()(x), then)
        torch.testing.assert_close(sf.load_checkpoint(fresh, path).eval()(x), then)


@pytest.mark.parametrize("run", ["done", "clips"])
def test_a_run_is_evaluated_and_predicts(run):
    then = json.loads(Path("runs", run, "results.json").read_text())["test"]
    scores = evaluate_checkpoint(read_checkpoint(f"runs/{run}"), workers=0)
    assert (scores.top1, scores.images) == (then["top1"], then["images"])
    assert scores.loss == pytest.approx(then["loss"], rel=1e-4)

    folder, file = ("recordings", "0.bin") if run == "clips" else ("images", "0.png")
    said = Predictor(f"runs/{run}")(sorted(map(str, Path(folder, "test").rglob(file))))
    for now, before in zip(said, COMPUTED["predictions"][run], strict=True):
        assert [name for name, _ in now] == [name for name, _ in before]
        assert [share for _, share in now] == pytest.approx([share for _, share in before], rel=1e-4)


def test_its_report_is_drawn():
    with pytest.raises(SystemExit) as ended:
        main(["analyze", "runs/done", "--images", "4", "--out", "report"])
    assert ended.value.code == 0
    assert Path("report", "index.html").is_file()


def resume(run, **changes):
    settings = yaml.safe_load(Path("runs", run, "settings.yaml").read_text())
    Path("recipe.yaml").write_text(yaml.safe_dump(settings))
    return fit("recipe.yaml", resume=True, **changes)


@pytest.fixture
def without_kernels(monkeypatch):
    """Training by torch alone, as in 0.3.0: compiled kernels round differently, and a few epochs make it visible."""
    monkeypatch.setenv(OFF, "1")


def told_by_the_data(weights):
    """Weights without the biases in front of norms, and the means of those norms.

    A norm takes such a bias away: its gradient is rounding, Adam steps all the same, and where to is up to the machine.
    """
    shifts = {name for name in weights if name.endswith(".conv.bias")}
    shifts |= {name.removesuffix("conv.bias") + "norm.running_mean" for name in shifts}
    return {name: weight for name, weight in weights.items() if name not in shifts}


def test_an_interrupted_run_ends_as_it_would_have(rows_of, without_pictures, without_kernels, monkeypatch):
    steps = []
    step = TrainingModule.training_step

    def noted(self, batch, batch_idx, *more):
        steps.append((self.current_epoch, batch_idx))
        return step(self, batch, batch_idx, *more)

    monkeypatch.setattr(TrainingModule, "training_step", noted)
    result = resume("cut")
    assert steps == [(3, 2), (3, 3), *((epoch, batch) for epoch in (4, 5) for batch in range(4))]
    weights, then = load_file(result.weights), load_file("runs/done/weights.safetensors")
    assert weights.keys() == then.keys()
    for name, weight in told_by_the_data(weights).items():
        torch.testing.assert_close(weight, then[name], rtol=1e-3, atol=1e-4, msg=name)
    rows, before = rows_of(result.run), rows_of(Path("runs/done"))
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4", "5", "6"]
    assert [row["val_loss"] for row in rows[:3]] == [row["val_loss"] for row in before[:3]]
    assert [float(row["val_loss"]) for row in rows] == pytest.approx([float(row["val_loss"]) for row in before], 1e-2)


def test_a_finished_run_goes_on_to_more_epochs(rows_of, without_pictures, caplog):
    result = resume("done", epochs=8)
    assert [row["epoch"] for row in rows_of(result.run)] == [str(epoch) for epoch in range(1, 9)]
    assert "epochs changed from 6 to 8" in caplog.text
    assert result.best_on_test >= float(rows_of(result.run)[0]["test_acc"])
