"""Equal budgets: the recipe's epochs, or as many steps as a number of FLOPs or minutes allows."""

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from spikeformers.analysis.bench import Loss, bench, plain_loss
from spikeformers.compare.base import with_total_epochs
from spikeformers.evaluation.dense import to_device
from spikeformers.files import atomic_write
from spikeformers.layers.time import time_first
from spikeformers.models.own_code import user_code_errors
from spikeformers.ops.spike_product.build import without_kernels
from spikeformers.training.loaders import limited
from spikeformers.training.optim import total_epochs
from spikeformers.training.precision import on_cpu, precision_here
from spikeformers.training.prepare import Prepared
from spikeformers.training.provenance import digests
from spikeformers.training.recipe import Recipe


@dataclass(frozen=True)
class Budget:
    """The training budget of each run. A budget of epochs takes the recipe's number and needs no `amount`."""

    of: Literal["epochs", "flops", "minutes"] = "epochs"
    amount: float = 0.0

    def __post_init__(self) -> None:
        if self.of != "epochs" and not 0 < self.amount < math.inf:
            raise ValueError(f"a budget of {self.amount} {self.of} allows no training step: give a number above 0")


@dataclass(frozen=True)
class Price:
    """The cost of a batch for one variant on this machine, measured before training."""

    seconds: float  # of a training step
    evaluation: float  # seconds of evaluation
    peak: float  # MiB that a training step holds at most, beyond the model
    flops: float  # of a training step's products and convolutions, backward included


def measured_prices(ready: Mapping[str, Prepared], file: Path, jobs: int, repeats: int = 5) -> dict[str, Price]:
    """The price of each variant, measured in turns on its training images, with the processor shared by `jobs` runs.

    Prices that `keep_prices` stored in `file` are reused, so that budgets stay the same, if the settings and files of
    parts are unchanged.
    """
    kept = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    known = {
        name: Price(**kept[name]["price"])
        for name, prepared in ready.items()
        if kept.get(name, {}).get("of") == _settings(prepared)
    }
    new = {name: prepared for name, prepared in ready.items() if name not in known}
    return known | (_measured(new, jobs, repeats) if new else {})


def keep_prices(prices: Mapping[str, Price], ready: Mapping[str, Prepared], file: Path) -> None:
    """Stores prices in `file`, with the settings they are for, and keeps those of other variants."""
    kept = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    new = {name: {"of": _settings(ready[name]), "price": asdict(price)} for name, price in prices.items()}
    atomic_write(file, json.dumps(kept | new, indent=2) + "\n")


def _settings(prepared: Prepared) -> dict[str, Any]:
    """Everything that a price depends on, except the machine."""
    recipe = prepared.loaders.recipe
    of = {
        "counted": "grouped",  # FLOPs; before, gradients of grouped convolutions counted as those of dense ones
        "accelerator": recipe.trainer.get("accelerator", "auto"),
        "model": prepared.model.config,
        "files": digests(recipe.model),
        "precision": precision_here(recipe),
        "batch_size": recipe.batch_size,
        "memory": recipe.memory,
        "compile": recipe.compile,
    }
    return json.loads(json.dumps(of))


def _measured(ready: Mapping[str, Prepared], jobs: int, repeats: int) -> dict[str, Price]:
    recipe = next(iter(ready.values())).loaders.recipe
    device = torch.device("cuda" if torch.cuda.is_available() and not on_cpu(recipe) else "cpu")
    models, inputs, losses, flops = {}, {}, {}, {}
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads // jobs))
    try:
        for name, prepared in ready.items():
            loaders = prepared.loaders
            x, targets = next(iter(loaders.eval_loader(loaders.train)))
            inputs[name], models[name] = time_first(x.to(device)), prepared.model.to(device)
            losses[name] = _loss_on(prepared, to_device(targets, device))
            try:
                with user_code_errors(loaders.recipe.model):
                    flops[name] = training_flops(models[name], inputs[name], losses[name])
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
        bf16 = precision_here(recipe) != "32-true"
        with user_code_errors([prepared.loaders.recipe.model for prepared in ready.values()]):
            speeds = bench(models, inputs, bf16=bf16, repeats=repeats, losses=losses)
    finally:
        torch.set_num_threads(threads)
    # only what cannot be trained has no training step and no peak
    return {s.way: Price(cast(float, s.training), s.evaluation, cast(float, s.peak), flops[s.way]) for s in speeds}


def _loss_on(prepared: Prepared, targets: Any) -> Loss:
    """The loss that a variant trains by, with the targets of one batch."""
    objective = prepared.module.objective
    if objective.teacher is not None:
        objective.teacher.to(next(prepared.model.parameters()).device)
    return lambda model, x: objective(model, x, targets)[0]


def training_flops(model: nn.Module, x: Tensor, loss: Loss = plain_loss) -> float:
    """FLOPs of products and convolutions in a training step on a batch: two per multiply-accumulate.

    All are the dense ones: what a kernel computes would not be seen, so here torch computes everything.
    """
    ours = {torch.ops.aten.convolution_backward: _convolution_backward}
    counter = FlopCounterMode(display=False, custom_mapping=ours)
    with without_kernels(), torch.compiler.set_stance("force_eager"), counter:
        loss(model.train(), x).backward()
    model.zero_grad()
    return counter.get_total_flops()


def _convolution_backward(outputs: Any, x: Any, weight: Any, *settings: Any, **_: Any) -> int:
    """FLOPs of a convolution's gradients, from shapes. Each takes as many as the outputs did.

    torch's own formula takes the gradient of a grouped convolution's weights for that of a dense one.
    """
    transposed, wanted = settings[4], settings[7]  # wanted: the gradients of the input, the weight and the bias
    return conv_flop_count(x, weight, outputs, transposed=transposed) * sum(wanted[:2])


def spent(recipe: Recipe, budget: Budget, price: Price, batches: int) -> Recipe:
    """A recipe that uses up a budget, in epochs of equal length with at most `batches` steps.

    Raises ValueError for a budget below one step.
    """
    if budget.of == "epochs":
        return recipe
    cost, unit = (price.flops, "FLOPs") if budget.of == "flops" else (price.seconds / 60, "minutes")
    steps = math.floor(budget.amount / cost)
    if steps < 1:
        raise ValueError(
            f"{budget.of} {budget.amount:g} is less than one step of {recipe.run}, {cost:.3g} {unit}: give more"
        )
    least = math.ceil(steps / batches)
    epochs = max(
        range(least, 2 * least + 1), key=lambda number: (steps // number * number, -number)
    )  # leave out the fewest steps
    each = steps // epochs
    limited = {**recipe.trainer, "limit_train_batches": each}
    return dataclasses.replace(with_total_epochs(recipe, epochs, each / batches), trainer=limited)


def batches_of(recipe: Recipe, images: int) -> int:
    """Training steps in an epoch, before any budget. Raises ValueError if there are none."""
    return limited(images // recipe.batch_size, recipe.trainer.get("limit_train_batches"), recipe)


def steps_of(recipe: Recipe, images: int) -> int:
    """Training steps in all."""
    return total_epochs(recipe) * batches_of(recipe, images)
