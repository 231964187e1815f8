"""The outcome of a finished run: its scores, and the cost of its trained model."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch.utils.data import Subset

from spikeformers.analysis import CONVENTIONS, profile
from spikeformers.checkpoints.load import load_checkpoint
from spikeformers.checkpoints.read import read_checkpoint
from spikeformers.compare.plan import RESULTS, Run
from spikeformers.data import load_sets
from spikeformers.data.inputs import stored_preprocess
from spikeformers.data.loading import eval_loader
from spikeformers.files import atomic_write
from spikeformers.layers.time import time_first
from spikeformers.models.building import rebuild
from spikeformers.training.metrics_table import read_metrics

COST, TABLE = "cost.json", "metrics.csv"
_IMAGES = 64  # validation images to count operations on, spread over the split


@dataclass(frozen=True)
class Outcome:
    """One run: scores in percent, and mean costs per validation image."""

    variant: str
    seed: int
    validation: float
    test: float
    test_images: int
    epoch: int
    minutes: float  # of all epochs, including evaluation
    ac: float  # accumulates, by the strict convention
    mac: float
    firing: float  # share of neurons that fire at a step; nan without neurons, as of ReLU
    millijoules: Mapping[str, float]  # by convention
    uncounted: Sequence[str] = ()  # operations of unknown cost, which no convention includes


def read_outcome(run: Run) -> Outcome:
    """The outcome of a finished run. Costs are counted once and cached in its folder.

    Raises ValueError if its table of metrics lacks the epoch that it chose.
    """
    results = json.loads((run.folder / RESULTS).read_text(encoding="utf-8"))
    rows, measure = metrics_of(run), run.measure
    column = f"val_{measure.column}"
    chosen = next((row for row in rows if int(row["epoch"]) == results["epoch"]), {})
    if not chosen.get(column):
        raise ValueError(
            f"{run.folder / TABLE} has no {column} for epoch {results['epoch']}, which the run chose: delete "
            f"{run.folder}, so that it is trained again"
        )
    minutes = sum(float(row["seconds"]) for row in rows) / 60
    file = run.folder / COST
    if not file.is_file():
        atomic_write(file, json.dumps(_cost(run), indent=2) + "\n")
    cost = json.loads(file.read_text(encoding="utf-8"))
    test = results["test"]
    scores = float(chosen[column]), test[measure.field], test["images"]
    return Outcome(run.variant, run.recipe.seed, *scores, results["epoch"], minutes, **cost)


def metrics_of(run: Run) -> list[dict[str, str]]:
    """The rows of a run's table so far, one per epoch."""
    return read_metrics(run.folder / TABLE)


def _cost(run: Run) -> dict[str, Any]:
    settings = read_checkpoint(run.folder).settings
    model = load_checkpoint(rebuild(settings["config"]), run.folder).eval()
    model = model.to("cuda" if torch.cuda.is_available() else "cpu")
    data = asdict(run.recipe.data)
    sets = load_sets(data, seed=run.recipe.seed)
    images = sets.prepared(sets.validation, stored_preprocess(settings), data)
    count = len(images)
    chosen = torch.linspace(0, count - 1, min(_IMAGES, count)).long().tolist()
    loader = eval_loader(Subset(images, chosen), run.recipe.batch_size, 0)
    found = profile(model, (time_first(x) for x, _ in loader))
    neurons = sum(layer.neurons for layer in found.activity)
    strict = found.total("strict")
    return {
        "ac": strict.ac,
        "mac": strict.mac,
        "firing": sum(layer.rate * layer.neurons for layer in found.activity) / neurons if neurons else math.nan,
        "millijoules": {name: found.total(name).millijoules for name in CONVENTIONS},
        "uncounted": found.uncounted,
    }
