"""Settings that change nothing because what they belong to is off."""

import logging
from collections.abc import Callable
from operator import attrgetter

from spikeformers.data.sets import Sets
from spikeformers.training.recipe import Recipe

logger = logging.getLogger("spikeformers")

# Fields, what they have an effect with, and whether a recipe or its data have that. They are told and not refused:
# who turns a part of a recipe off need not look for all that belongs to it.
_NEEDS: tuple[tuple[str, str, Callable[[Recipe, Sets], bool]], ...] = (
    ("ema_warmup", "ema_decay", lambda recipe, _: recipe.ema_decay is not None),
    ("loss.tet_weight", "loss.name tet", lambda recipe, _: recipe.loss.name == "tet"),
    (
        "loss.tet_target",
        "loss.name tet and loss.tet_weight",
        lambda recipe, _: recipe.loss.name == "tet" and recipe.loss.tet_weight > 0,
    ),
    ("loss.firing_rate", "loss.firing_weight", lambda recipe, _: recipe.loss.firing_weight > 0),
    ("distill.name distill.weight", "distill.teacher", lambda recipe, _: recipe.distill.teacher is not None),
    (
        "distill.temperature",
        "distill.teacher and distill.name soft",
        lambda recipe, _: recipe.distill.teacher is not None and recipe.distill.name == "soft",
    ),
    (
        "augment.mix_prob augment.mix_off_epoch",
        "augment.mixup or cutmix",
        lambda recipe, _: recipe.augment.mixup > 0 or recipe.augment.cutmix > 0,
    ),
    (
        "augment.mix_switch_prob",
        "both augment.mixup and cutmix",
        lambda recipe, _: recipe.augment.mixup > 0 and recipe.augment.cutmix > 0,
    ),
    ("augment.erase_mode", "augment.erase", lambda recipe, _: recipe.augment.erase > 0),
    ("augment.clip_ops_drawn", "augment.clip_ops", lambda recipe, _: bool(recipe.augment.clip_ops)),
    (
        "schedule.after_warmup",
        "schedule.warmup_epochs or warmup_updates",
        lambda recipe, _: recipe.schedule.warmup_epochs > 0 or recipe.schedule.warmup_updates > 0,
    ),
    ("schedule.milestones", "schedule.name multistep", lambda recipe, _: recipe.schedule.name == "multistep"),
    ("schedule.decay_epochs", "schedule.name step", lambda recipe, _: recipe.schedule.name == "step"),
    (
        "schedule.decay_rate",
        "schedule.name step, multistep or poly",
        lambda recipe, _: recipe.schedule.name in ("step", "multistep", "poly"),
    ),
    (
        "schedule.min_lr",
        "schedule.name cosine, tanh or poly",
        lambda recipe, _: recipe.schedule.name in ("cosine", "tanh", "poly"),
    ),
    (
        "data.frames_by data.channels data.sensor data.test data.split_seed data.window data.window_events",
        "recordings",
        lambda _, sets: sets.kind == "recordings",
    ),
    ("data.crop_pct", "images", lambda _, sets: sets.kind == "images"),
    ("data.skip_empty", "boxes", lambda _, sets: getattr(sets, "task", None) == "detection"),
    ("data.void", "masks", lambda _, sets: getattr(sets, "task", None) == "segmentation"),
)


def idle_settings(recipe: Recipe, sets: Sets) -> list[str]:
    """The fields that differ from their defaults and have no effect on a run, each with what it lacks."""
    plain = Recipe(model={"name": ""})
    return [
        f"{field} without {lacking}"
        for fields, lacking, is_there in _NEEDS
        for field in fields.split()
        if attrgetter(field)(recipe) != attrgetter(field)(plain) and not is_there(recipe, sets)
    ]


def tell_idle_settings(recipe: Recipe, sets: Sets) -> None:
    """Logs one line if settings of a recipe have no effect."""
    if idle := idle_settings(recipe, sets):
        logger.warning("no effect: %s", ", ".join(idle))
