"""timm's optimizers and schedules, from a recipe."""

from typing import Any

from timm.optim import create_optimizer_v2, list_optimizers  # pyright: ignore[reportPrivateImportUsage]
from timm.scheduler import create_scheduler_v2  # pyright: ignore[reportPrivateImportUsage]
from timm.scheduler.scheduler import Scheduler
from torch import nn
from torch.optim import Optimizer

from spikeformers.training.recipe import Recipe

_SCHEDULES = ("cosine", "tanh", "step", "multistep", "poly")  # timm's plateau wants a metric


def make_optimizer(recipe: Recipe, model: nn.Module) -> Optimizer:
    """The recipe's optimizer over a model's parameters; one-dimensional ones do not decay.

    Raises ValueError for a name timm does not have, or arguments that optimizer does not take.
    """
    settings = recipe.optimizer
    if settings.name not in list_optimizers():
        raise ValueError(f"optimizer.name {settings.name!r} is not one of timm's: {_some(list_optimizers())}")
    try:
        return create_optimizer_v2(
            model, opt=settings.name, lr=settings.lr, weight_decay=settings.weight_decay, **settings.args
        )
    except TypeError as error:
        raise ValueError(f"optimizer.args {settings.args} do not suit {settings.name}: {error}") from error


def make_schedule(recipe: Recipe, optimizer: Optimizer, updates_per_epoch: int) -> tuple[Scheduler, int]:
    """The recipe's learning-rate schedule, and the number of epochs with its cool-down.

    Raises ValueError for another name, or a warm-up that leaves nothing.
    """
    settings = recipe.schedule
    if settings.name not in _SCHEDULES:
        raise ValueError(f"schedule.name {settings.name!r} is not one of {', '.join(_SCHEDULES)}")
    if settings.warmup_epochs >= recipe.epochs and settings.warmup_epochs > 0:
        raise ValueError(
            f"schedule.warmup_epochs {settings.warmup_epochs} is not below epochs {recipe.epochs}: "
            f"lower it, as in --schedule.warmup_epochs {recipe.epochs - 1}"
        )
    schedule, epochs = create_scheduler_v2(
        optimizer,
        sched=settings.name,
        num_epochs=recipe.epochs,
        warmup_epochs=settings.warmup_epochs,
        warmup_lr=settings.warmup_lr,
        min_lr=settings.min_lr,
        cooldown_epochs=settings.cooldown_epochs,
        step_on_epochs=not settings.per_update,
        updates_per_epoch=updates_per_epoch,
    )
    assert schedule is not None  # which it is for the name "none" only
    return schedule, epochs


def total_epochs(recipe: Recipe) -> int:
    """Epochs with the cool-down, which comes on top."""
    return recipe.epochs + recipe.schedule.cooldown_epochs


def _some(names: Any) -> str:
    common = [name for name in ("adamw", "lamb", "sgd", "lion", "adan", "muon") if name in names]
    return f"{', '.join(common)} and {len(names) - len(common)} more"
