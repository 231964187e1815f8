"""The results of a finished run: test scores, weights, figures and samples."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from spikeformers.checkpoints.save import save_pretrained
from spikeformers.data.eval_shards import NOT_COUNTED
from spikeformers.evaluation.dense import BoxScores, MaskScores
from spikeformers.evaluation.evaluate import Scores, evaluate
from spikeformers.files import atomic_write, short_name
from spikeformers.layers.time import time_first
from spikeformers.models import SpikingTransformer
from spikeformers.training.dense_pictures import draw_beside
from spikeformers.training.loaders import Loaders
from spikeformers.training.metrics_table import read_metrics
from spikeformers.training.pictures import draw_curves, draw_predictions
from spikeformers.training.recipe import Recipe

_DRAWN = 32  # test images in the figure of predictions; more if there are more classes


@dataclass(frozen=True)
class Result:
    """The result of a finished run.

    The weights are those of the epoch with the best validation score, or of the last epoch without validation data.

    Attributes:
        run: the run's folder.
        weights: the file of weights.
        test: test scores of these weights; None for a model trained without labels.
        epoch: their epoch, counted from 1.
        best_on_test: the highest test score of any epoch, as papers report it; it selects nothing. None without
            `data.test_each_epoch`.
    """

    run: Path
    weights: Path
    test: Scores | BoxScores | MaskScores | None
    epoch: int
    best_on_test: float | None


def leave_results(
    folder: Path,
    loaders: Loaders,
    model: SpikingTransformer,
    settings: dict[str, Any],
    epoch: int,
    *,
    best: str = "acc",
) -> Result:
    """Tests a trained model, and writes weights, scores, curves, predictions and a few samples to the run's folder.

    `best` is the name of the score that `best_on_test` is about.
    """
    column = f"test_{best}"
    on_test = [float(row[column]) for row in read_metrics(folder / "metrics.csv") if row.get(column)]
    test = evaluate(model, loaders.eval_loader(loaders.test), loaders.sets.counted_in, settings["classes"])
    weights = save_pretrained(model, folder, **settings, epoch=epoch, test=asdict(test))
    result = Result(folder, weights, test, epoch, max(on_test, default=None))

    name = _write(folder, loaders.recipe, settings, test=asdict(test), epoch=epoch, best_on_test=result.best_on_test)
    show = _show_predictions if isinstance(test, Scores) else _show_dense
    show(folder, loaders, model, settings["classes"], f"{name}: {test.headline} on {test.tested_on}")
    return result


def leave_pretraining(
    folder: Path, loaders: Loaders, model: SpikingTransformer, settings: dict[str, Any], epoch: int
) -> Result:
    """Writes weights and curves of a model trained without labels to the run's folder."""
    weights = save_pretrained(model, folder, **settings, epoch=epoch)
    _write(folder, loaders.recipe, settings, epoch=epoch)
    return Result(folder, weights, None, epoch, None)


def _write(folder: Path, recipe: Recipe, settings: dict[str, Any], **scores: Any) -> str:
    """Writes scores to `results.json`, and the curves; returns a title for the run."""
    atomic_write(folder / "results.json", json.dumps(scores, indent=2) + "\n")
    name = f"{settings['config']['name']} on {settings['recipe']['data']['name']}"
    draw_curves(folder / "metrics.csv", folder / "curves.png", name, recipe)
    return name


def of_every_class(labels: Sequence[int], most: int) -> list[int]:
    """Up to `most` indices into a labelled set: the first item of each class, then the second of each, and so on."""
    seen: Counter[int] = Counter()
    turns = []
    for place, label in enumerate(labels):
        turns.append((seen[label], label, place))
        seen[label] += 1
    return [place for _, _, place in sorted(turns)[:most]]


def _show_predictions(
    folder: Path, loaders: Loaders, model: SpikingTransformer, classes: list[str], title: str
) -> None:
    """Draws test images of every class, as far as there is room, with the model's predictions, and saves five of them
    as files to try `predict` on.
    """
    chosen = of_every_class(loaders.test.labels(), min(max(_DRAWN, len(classes)), 4 * _DRAWN))
    read = [(loaders.test[i], *loaders.test.source(i)) for i in chosen]
    shown = [(x, item, k) for (x, label), item, k in read if NOT_COUNTED not in (label, k)]
    if not shown:
        return
    x, items, truths = zip(*shown, strict=True)
    batches = torch.stack(x).to(next(model.parameters()).device).split(loaders.recipe.batch_size)
    with torch.inference_mode():
        best = [model(time_first(batch)).softmax(-1).max(-1) for batch in batches]
    predicted = [(classes[k], p) for ps, ks in best for p, k in zip(ps.tolist(), ks.tolist(), strict=True)]
    sets = loaders.sets
    pictures, names = [sets.picture(item) for item in items], [classes[k] for k in truths]
    draw_predictions(pictures, names, predicted, folder / "predictions.png", title)
    (folder / "samples").mkdir(exist_ok=True)
    for i in range(min(5, len(items))):
        sets.keep(items[i], folder / "samples" / short_name(f"{i + 1}-true-{classes[truths[i]]}"))


def _show_dense(folder: Path, loaders: Loaders, model: SpikingTransformer, classes: list[str], title: str) -> None:
    """Draws test images with predictions beside the truth, and saves five of them as files to try `predict` on."""
    count = len(loaders.test)
    places = torch.linspace(0, count - 1, min(_DRAWN // 4, count)).long().tolist()
    sources = draw_beside(loaders, model, loaders.test, places, folder / "predictions.png", title)
    (folder / "samples").mkdir(exist_ok=True)
    for i, (item, _) in enumerate(sources[:5]):
        loaders.sets.keep(item, folder / "samples" / f"{i + 1}")
