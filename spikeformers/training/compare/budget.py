"""The same budget for all: epochs as the recipe has them, or steps bought for so many FLOPs or minutes."""

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

from spikeformers.analysis.bench import bench
from spikeformers.training.compare.base import with_total_epochs
from spikeformers.training.module import time_first
from spikeformers.training.optim import total_epochs
from spikeformers.training.prepare import Prepared
from spikeformers.training.recipe import Recipe


@dataclass(frozen=True)
class Budget:
    """What each run may spend on training steps. Epochs are those of the recipe, and need no amount."""

    of: Literal["epochs", "flops", "minutes"] = "epochs"
    amount: float = 0.0

    def __post_init__(self) -> None:
        if self.of != "epochs" and not 0 < self.amount < math.inf:
            raise ValueError(f"{self.of} {self.amount} buy no training step: give a number above 0")


@dataclass(frozen=True)
class Price:
    """What a batch costs one variant on this machine, before training."""

    seconds: float  # of a training step
    evaluation: float  # seconds of evaluation
    peak: float  # MiB that a training step holds at most, above the model
    flops: float  # of a training step's products and convolutions, backward included


def measured_prices(ready: Mapping[str, Prepared], file: Path, repeats: int = 3) -> dict[str, Price]:
    """The price of each variant, measured in turns on training images; kept in `file`, so that budgets stay."""
    known = {}
    if file.is_file():
        known = {name: Price(**price) for name, price in json.loads(file.read_text(encoding="utf-8")).items()}
    new = {name: prepared for name, prepared in ready.items() if name not in known}
    if new:
        known |= _measured(new, repeats)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({name: asdict(price) for name, price in known.items()}, indent=2) + "\n")
    return {name: known[name] for name in ready}


def _measured(ready: Mapping[str, Prepared], repeats: int) -> dict[str, Price]:
    loaders = next(iter(ready.values())).loaders
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    x = time_first(next(iter(loaders.eval_loader(loaders.train)))[0].to(device))
    models = {name: prepared.model.to(device) for name, prepared in ready.items()}
    flops = {name: training_flops(model, x) for name, model in models.items()}
    speeds = bench(models, x, bf16=loaders.recipe.precision != "32-true", repeats=repeats)
    return {s.way: Price(s.training, s.evaluation, s.peak, flops[s.way]) for s in speeds}


def training_flops(model: nn.Module, x: Tensor) -> float:
    """FLOPs of the products and convolutions in a training step on a batch: two for a multiplication with its sum."""
    with torch.compiler.set_stance("force_eager"), FlopCounterMode(display=False) as counter:
        logits = model.train()(x)
        cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=x.device)).backward()
    model.zero_grad()
    return counter.get_total_flops()


def spent(recipe: Recipe, budget: Budget, price: Price, batches: int) -> Recipe:
    """A recipe that spends a budget: as many steps as it buys, in epochs of equal length, no longer than `batches`.

    Raises ValueError for a budget below one step.
    """
    if budget.of == "epochs":
        return recipe
    cost, unit = (price.flops, "FLOPs") if budget.of == "flops" else (price.seconds / 60, "minutes")
    steps = math.floor(budget.amount / cost)
    if steps < 1:
        raise ValueError(f"{budget.of} {budget.amount:g} are less than one step of {recipe.run}: {cost:.3g} {unit}")
    epochs = math.ceil(steps / batches)
    limited = {**recipe.trainer, "limit_train_batches": max(1, round(steps / epochs))}
    return dataclasses.replace(with_total_epochs(recipe, epochs), trainer=limited)


def batches_of(recipe: Recipe, images: int) -> int:
    """Training steps in an epoch, before any budget."""
    full = images // recipe.batch_size
    limit = recipe.trainer.get("limit_train_batches", 1.0)
    return max(1, min(full, limit) if isinstance(limit, int) else int(full * limit))


def steps_of(recipe: Recipe, images: int) -> int:
    """Training steps in all."""
    return total_epochs(recipe) * batches_of(recipe, images)
