"""What a finished run came to: accuracies as it left them, and what its trained model costs."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch.utils.data import Subset

from spikeformers.analysis import CONVENTIONS, profile
from spikeformers.checkpoints.load import load_checkpoint
from spikeformers.checkpoints.read import read_checkpoint
from spikeformers.compare.plan import RESULTS, Run
from spikeformers.data import load_sets
from spikeformers.data.loading import eval_loader
from spikeformers.files import atomic_write
from spikeformers.layers.time import time_first
from spikeformers.models.registry import rebuild
from spikeformers.training.metrics_table import read_metrics

COST = "cost.json"
_IMAGES = 64  # validation images that operations are counted on, spread over the split


@dataclass(frozen=True)
class Outcome:
    """One run: accuracies in percent, and a mean over validation images of what its model does for one."""

    variant: str
    seed: int
    validation: float
    test: float
    test_images: int
    epoch: int
    minutes: float  # that its epochs took, evaluation included
    ac: float  # accumulations, strict
    mac: float
    firing: float  # the share of neurons that fire at a step
    millijoules: Mapping[str, float]  # by convention


def read_outcome(run: Run) -> Outcome:
    """What a finished run came to; the costs are counted once, and kept in its folder."""
    results = json.loads((run.folder / RESULTS).read_text(encoding="utf-8"))
    rows = metrics_of(run)
    chosen = next(row for row in rows if int(row["epoch"]) == results["epoch"])
    minutes = sum(float(row["seconds"]) for row in rows) / 60
    file = run.folder / COST
    if not file.is_file():
        atomic_write(file, json.dumps(_cost(run), indent=2) + "\n")
    cost = json.loads(file.read_text(encoding="utf-8"))
    scores = float(chosen["val_acc"]), results["test"]["top1"], results["test"]["images"]
    return Outcome(run.variant, run.recipe.seed, *scores, results["epoch"], minutes, **cost)


def metrics_of(run: Run) -> list[dict[str, str]]:
    """The rows of a run's table, an epoch each, so far."""
    return read_metrics(run.folder / "metrics.csv")


def _cost(run: Run) -> dict[str, Any]:
    settings = read_checkpoint(run.folder).settings
    model = load_checkpoint(rebuild(settings["config"]), run.folder).eval()
    model = model.to("cuda" if torch.cuda.is_available() else "cpu")
    data = asdict(run.recipe.data)
    sets = load_sets(data, seed=run.recipe.seed)
    images = sets.prepared(sets.validation, settings["preprocess"], data)
    count = len(images)
    chosen = torch.linspace(0, count - 1, min(_IMAGES, count)).long().tolist()
    loader = eval_loader(Subset(images, chosen), run.recipe.batch_size, 0)
    found = profile(model, (time_first(x) for x, _ in loader))
    fired = sum(layer.rate * layer.neurons for layer in found.activity)
    strict = found.total("strict")
    return {
        "ac": strict.ac,
        "mac": strict.mac,
        "firing": fired / max(sum(layer.neurons for layer in found.activity), 1),
        "millijoules": {name: found.total(name).millijoules for name in CONVENTIONS},
    }
