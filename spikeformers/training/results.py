"""What a finished run leaves in its folder."""

import csv
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from spikeformers.checkpoints.save import save_pretrained
from spikeformers.evaluation.evaluate import Scores, evaluate
from spikeformers.files import atomic_write
from spikeformers.layers.time import time_first
from spikeformers.models import SpikingTransformer
from spikeformers.training.loaders import Loaders
from spikeformers.training.pictures import draw_curves, draw_predictions


@dataclass(frozen=True)
class Result:
    """What a finished run has to show: test scores of the weights it keeps, and where everything lies.

    The weights are those of the best epoch (counted from 1) on validation images, or of the last where there are none.
    """

    run: Path
    weights: Path
    test: Scores | None  # None of a model that learnt without labels
    epoch: int
    best_on_test: float | None  # the highest test accuracy of any epoch, as papers report; it chose nothing


def leave_results(
    folder: Path, loaders: Loaders, model: SpikingTransformer, settings: dict[str, Any], epoch: int
) -> Result:
    """Tests a trained model, and leaves weights, scores, curves, predictions and a few samples in its run's folder."""
    with (folder / "metrics.csv").open(newline="") as table:
        rows = list(csv.DictReader(table))
    on_test = [float(row["test_acc"]) for row in rows if row.get("test_acc")]
    test = evaluate(model, loaders.eval_loader(loaders.test))
    weights = save_pretrained(model, folder, **settings, epoch=epoch, test=asdict(test))
    result = Result(folder, weights, test, epoch, max(on_test, default=None))

    name = _write(folder, settings, test=asdict(test), epoch=epoch, best_on_test=result.best_on_test)
    _show_predictions(folder, loaders, model, settings["classes"], f"{name}: {test.top1:.2f} % of {test.images} right")
    return result


def leave_pretraining(
    folder: Path, loaders: Loaders, model: SpikingTransformer, settings: dict[str, Any], epoch: int
) -> Result:
    """Leaves weights and curves of a model that learnt without labels in its run's folder."""
    weights = save_pretrained(model, folder, **settings, epoch=epoch)
    _write(folder, settings, epoch=epoch)
    return Result(folder, weights, None, epoch, None)


def _write(folder: Path, settings: dict[str, Any], **scores: Any) -> str:
    """Leaves scores as `results.json`, and the curves; the run in words."""
    atomic_write(folder / "results.json", json.dumps(scores, indent=2) + "\n")
    name = f"{settings['config']['name']} on {settings['recipe']['data']['name']}"
    draw_curves(folder / "metrics.csv", folder / "curves.png", name)
    return name


def _show_predictions(
    folder: Path, loaders: Loaders, model: SpikingTransformer, classes: list[str], title: str, shown: int = 32
) -> None:
    """Draws the first test images with what the model says, and leaves five of them as files to try `predict` on."""
    batch = next(iter(loaders.eval_loader(loaders.test)))[0][:shown].to(next(model.parameters()).device)
    with torch.inference_mode():
        confidences, labels = model(time_first(batch)).softmax(-1).max(-1)
    sets = loaders.sets
    items, truths = zip(*(loaders.test.source(i) for i in range(len(batch))), strict=True)
    said = [(classes[k], p) for k, p in zip(labels.tolist(), confidences.tolist(), strict=True)]
    draw_predictions(
        [sets.picture(item) for item in items], [classes[k] for k in truths], said, folder / "predictions.png", title
    )
    (folder / "samples").mkdir(exist_ok=True)
    for i in range(min(5, len(items))):
        sets.keep(items[i], folder / "samples" / f"{i + 1}-true-{classes[truths[i]].replace('/', '-')}")
