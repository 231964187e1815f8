"""Building a recipe's optimizer and schedule with timm."""

import logging
from typing import Any

import timm.optim
from timm.scheduler import create_scheduler_v2  # pyright: ignore[reportPrivateImportUsage]
from timm.scheduler.scheduler import Scheduler
from torch import nn
from torch.optim import Optimizer

from spikeformers.models.network import SpikingTransformer
from spikeformers.training.recipe import Recipe, Schedule

logger = logging.getLogger("spikeformers")

_timm: Any = timm.optim  # it does not declare what it exports
_SCHEDULES = ("cosine", "tanh", "step", "multistep", "poly")  # timm's plateau needs a metric
_STEPPED = {"step": "decay_epochs", "multistep": "milestones"}  # by when they fall; timm gives them no least rate


def make_optimizer(recipe: Recipe, model: nn.Module, processes: int = 1) -> Optimizer:
    """The recipe's optimizer over a model's parameters. One-dimensional ones do not decay, unless `decay_all` is set.

    With `lr_batch`, the rate scales with the images of an update over all `processes`. With a layer decay, parameter
    groups have timm's `lr_scale`, as with a `head_factor`.

    Raises ValueError if timm has no such optimizer, the optimizer does not take `args`, or needs second derivatives.
    """
    settings = recipe.optimizer
    if settings.name not in _timm.list_optimizers():
        raise ValueError(
            f"timm has no optimizer.name {settings.name!r}: choose one of {_some(_timm.list_optimizers())}"
        )
    if _timm.get_optimizer_info(settings.name).second_order:
        raise ValueError(
            f"optimizer.name {settings.name} needs second derivatives, which training does not compute: choose one of "
            f"{_some(_timm.list_optimizers())}"
        )
    try:
        return _timm.create_optimizer_v2(
            _groups(recipe, model),
            opt=settings.name,
            lr=learning_rate(recipe, processes),
            weight_decay=settings.weight_decay,
            **settings.args,
        )
    except Exception as error:  # of all kinds: optimizers take arguments on trust, and name neither
        said = error if isinstance(error, TypeError | ValueError) else f"{type(error).__name__}: {error}"
        raise ValueError(f"optimizer.args {settings.args} do not suit {settings.name}: {said}") from error


def learning_rate(recipe: Recipe, processes: int = 1) -> float:
    """The peak learning rate, scaled to the images of one update if `lr_batch` is set."""
    settings = recipe.optimizer
    if settings.lr_batch is None:
        return settings.lr
    return settings.lr * recipe.batch_size * recipe.accumulate * processes / settings.lr_batch


def tell_low_rate(recipe: Recipe, processes: int = 1) -> None:
    """Logs a line for each end of a schedule that lies above its peak: the rate would rise to it, or fall from it."""
    settings, rate = recipe.schedule, learning_rate(recipe, processes)
    warms_up = settings.warmup_epochs > 0 or settings.warmup_updates > 0
    for field, applies in (("min_lr", settings.name not in _STEPPED), ("warmup_lr", warms_up)):
        if applies and rate < (end := getattr(settings, field)):
            logger.warning(
                "the learning rate of %.3g is below schedule.%s %.3g: lower that, as in --schedule.%s %.3g",
                rate, field, end, field, rate / 100,
            )  # fmt: skip


def find_layers(model: SpikingTransformer) -> dict[str, int]:
    """The layer index of each parameter, for layer decay: 0 for the stem and all earlier stages, then one per block.

    The head comes last, with the neck of a detector and whatever else is new on a trunk. The last stage begins after
    the last reduction of the map.
    """
    before = [stage.last_block for stage in model.stages if stage.reduction < model.stages[-1].reduction]
    first = max(before) + 2 if before else 0
    layers = {}
    for name, _ in model.named_parameters():
        words = name.split(".")
        in_stage = words[0] == "blocks" and int(words[1]) >= first
        layers[name] = int(words[1]) - first + 1 if in_stage else 0
        if words[0] not in ("stem", "position", "blocks"):
            layers[name] = len(model.blocks) - first + 1
    return layers


def _groups(recipe: Recipe, model: Any) -> list[dict[str, Any]]:
    """Parameter groups by weight decay and layer."""
    settings = recipe.optimizer
    layers = find_layers(model) if settings.layer_decay is not None else {}
    top, scaled = max(layers.values(), default=0), bool(layers) or settings.head_factor != 1
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            is_weight = parameter.ndim > 1 and not name.endswith("bias")  # PSN's bias is [T, 1]
            decay = settings.weight_decay if is_weight or settings.decay_all else 0.0
            scale = (settings.layer_decay or 1.0) ** (top - layers.get(name, top))
            scale *= settings.head_factor if name.startswith("head.") else 1.0
            groups.setdefault((decay, scale), []).append(parameter)
    return [
        {"params": parameters, "weight_decay": decay, **({"lr_scale": scale} if scaled else {})}
        for (decay, scale), parameters in groups.items()
    ]


def rate_of(optimizer: Optimizer) -> float:
    """The learning rate of a layer without a factor of its own, by `layer_decay` or `head_factor`."""
    group = optimizer.param_groups[0]
    return group["lr"] / group.get("lr_scale", 1.0)


def make_schedule(recipe: Recipe, optimizer: Optimizer, updates_per_epoch: int) -> tuple[Scheduler, int]:
    """The recipe's learning-rate schedule, and the number of epochs including the cool-down.

    Raises ValueError as `check_schedule` does.
    """
    settings = recipe.schedule
    check_schedule(recipe, updates_per_epoch)
    warmup: Any = _warmup(settings, updates_per_epoch)
    before = warmup if settings.after_warmup else 0
    schedule, epochs = create_scheduler_v2(
        optimizer,
        sched=settings.name,
        num_epochs=recipe.epochs - before,
        warmup_prefix=settings.after_warmup,
        warmup_epochs=warmup,
        decay_epochs=settings.decay_epochs,
        # timm lowers the rate one step early, which among updates is nothing
        decay_milestones=[epoch + (not settings.per_update) for epoch in settings.milestones],
        warmup_lr=settings.warmup_lr,
        min_lr=settings.min_lr,
        decay_rate=settings.decay_rate,
        cooldown_epochs=settings.cooldown_epochs,
        step_on_epochs=not settings.per_update,
        updates_per_epoch=updates_per_epoch,
    )
    assert schedule is not None  # timm returns None only for the name "none"
    return schedule, epochs


def check_schedule(recipe: Recipe, updates_per_epoch: int) -> None:
    """Raises ValueError for an unknown name, a warm-up of all epochs, and a rate that never falls."""
    settings = recipe.schedule
    if settings.name not in _SCHEDULES:
        raise ValueError(f"schedule.name {settings.name!r} is not one of {', '.join(_SCHEDULES)}")
    if settings.warmup_epochs >= recipe.epochs and settings.warmup_epochs > 0:
        raise ValueError(
            f"schedule.warmup_epochs {settings.warmup_epochs} is not below epochs {recipe.epochs}: "
            f"lower it, as in --schedule.warmup_epochs {recipe.epochs - 1}"
        )
    if settings.warmup_updates:
        if settings.warmup_epochs or not settings.per_update:
            raise ValueError(
                f"schedule.warmup_updates {settings.warmup_updates} needs per_update true and warmup_epochs 0: set them"
            )
        if settings.warmup_updates >= recipe.epochs * updates_per_epoch:
            raise ValueError(
                f"schedule.warmup_updates {settings.warmup_updates} is not below the updates of the run, "
                f"{recipe.epochs * updates_per_epoch}: lower it"
            )
    if settings.name == "multistep" and not settings.milestones:
        raise ValueError('schedule.name multistep needs milestones: add some, as in --schedule.milestones "[30, 60]"')
    if (field := _STEPPED.get(settings.name)) is None:
        return
    if settings.cooldown_epochs:
        others = [name for name in _SCHEDULES if name not in _STEPPED]
        raise ValueError(
            f"schedule.cooldown_epochs {settings.cooldown_epochs} does not suit schedule.name {settings.name}, which "
            f"has no cool-down: leave it out, or take {', '.join(others[:-1])} or {others[-1]}"
        )
    value = getattr(settings, field)
    first = value[0] if isinstance(value, list | tuple) else value
    before = _warmup(settings, updates_per_epoch) if settings.after_warmup else 0
    if first + before >= recipe.epochs:
        after = f" after a warm-up of {before:g}" if before else ""
        raise ValueError(
            f"schedule.{field} {value}{after} is not below epochs {recipe.epochs}: the rate never falls; lower it"
        )


def _warmup(settings: Schedule, updates_per_epoch: int) -> float:
    """The epochs of warm-up."""
    return settings.warmup_updates / updates_per_epoch or settings.warmup_epochs


def total_epochs(recipe: Recipe) -> int:
    """The epochs of a recipe including the cool-down."""
    return recipe.epochs + recipe.schedule.cooldown_epochs


def _some(names: Any) -> str:
    common = [name for name in ("adamw", "lamb", "sgd", "lion", "adan", "muon") if name in names]
    return f"{', '.join(common)} and {len(names) - len(common)} more"
