"""The base settings of a comparison: those of a recipe, or, for a model, of a recipe for its data."""

import dataclasses
import difflib
import logging
from collections.abc import Collection, Sequence
from typing import Any

from spikeformers.models.registry import find_family
from spikeformers.training.optim import total_epochs
from spikeformers.training.recipe import Recipe
from spikeformers.training.recipe_file import list_recipes, make_recipe, read_recipe, recipe_sizes

logger = logging.getLogger("spikeformers")


def base_recipe(name: str, words: Sequence[str] = ()) -> Recipe:
    """A recipe by name or file, or the recipe to train a model by.

    The warm-up, the cool-down, the epochs at which the rate falls and the epoch at which mixup ends are scaled with the
    number of epochs, except those that `words` set.

    Args:
        name: The name of a recipe, a YAML file, or the name of a model.
        words: Fields to change, as in `read_recipe`.

    Returns:
        The recipe.

    Raises:
        ValueError: The name is neither a recipe nor a model; also what `read_recipe` raises.
    """
    if name in list_recipes() or name.endswith((".yaml", ".yml")):
        own, asked = read_recipe(name), read_recipe(name, words)
    else:
        own, asked = _for_model(name, words)
    given = {word.removeprefix("--").partition("=")[0] for word in words}
    return _in_proportion(asked, asked.epochs / own.epochs, asked.epochs, given)


def with_total_epochs(recipe: Recipe, epochs: int, each: float = 1.0) -> Recipe:
    """A recipe with this number of epochs, including its cool-down, in unchanged proportions. `each` is the share of
    its updates that an epoch keeps."""
    changed = _in_proportion(recipe, epochs / total_epochs(recipe), epochs, each=each)
    return dataclasses.replace(changed, epochs=max(1, epochs - changed.schedule.cooldown_epochs))


def _in_proportion(recipe: Recipe, share: float, epochs: int, given: Collection[str] = (), each: float = 1.0) -> Recipe:
    """A recipe with its lengths scaled by `share` for `epochs` in all, and those in updates by `each` too, except the
    `given`."""
    schedule, augment = recipe.schedule, recipe.augment
    scaled: dict[str, dict[str, Any]] = {
        "schedule": {
            "warmup_epochs": round(schedule.warmup_epochs * share),
            "warmup_updates": round(schedule.warmup_updates * share * each),
            "cooldown_epochs": round(schedule.cooldown_epochs * share),
            "milestones": _scaled(schedule.milestones, share, epochs),
        },
        "augment": {},
    }
    if schedule.name == "step":  # elsewhere it has no effect, and stays the default
        (scaled["schedule"]["decay_epochs"],) = _scaled([schedule.decay_epochs], share, epochs)
    if augment.mix_off_epoch is not None:
        scaled["augment"]["mix_off_epoch"] = round(augment.mix_off_epoch * share)
    for group, lengths in scaled.items():
        free = {field: length for field, length in lengths.items() if f"{group}.{field}" not in given}
        recipe = dataclasses.replace(recipe, **{group: dataclasses.replace(getattr(recipe, group), **free)})
    return recipe


def _scaled(milestones: Sequence[int], share: float, epochs: int) -> list[int]:
    """Milestones scaled by `share`, from 1 on. Those that differ still do, if a fall before the end then stays before
    it."""
    scaled: list[int] = []
    for i, epoch in enumerate(milestones):
        least = scaled[-1] + (epoch > milestones[i - 1]) if scaled else 1
        place = max(least, round(epoch * share))
        scaled.append(min(place, max(1, epochs - 1)) if epoch * share < epochs else place)
    return scaled


def _for_model(model: str, words: Sequence[str]) -> tuple[Recipe, Recipe]:
    if ":" not in model:
        try:
            find_family(model)
        except ValueError as error:
            close = ", ".join(difflib.get_close_matches(model, list_recipes(), n=2))
            meant = f" (did you mean {close}?)" if close else ""
            raise ValueError(f"{model!r} is not a recipe either{meant}: {error}") from error
    plain = {"model": {"name": model}}
    data = make_recipe(plain, words).data.name
    nearest = sorted(list_recipes(), key=lambda name: _strangeness(recipe_sizes(name), model))
    for recipe in (name for name in nearest if _is_for(name, data)):
        try:
            own = read_recipe(recipe, ["--model", model])
        except ValueError:  # a recipe of another family
            continue
        asked = read_recipe(recipe, ["--model", model, *words])
        logger.warning("using the training settings of the recipe %s", recipe)
        break
    else:
        logger.warning("there is no recipe for %s on %s: using default training settings", model, data)
        own, asked = make_recipe(plain), make_recipe(plain, words)
    asked.run = model.replace(".py:", "-").rpartition("/")[2]
    return own, asked


def _is_for(recipe: str, data: str) -> bool:
    """Whether a recipe trains on the data, from random weights."""
    own = read_recipe(recipe)
    return own.data.name == data and not (own.start_needed or own.start_from)


def _strangeness(theirs: Sequence[str], ours: str) -> int:
    """0 for a recipe of the same model, 1 for one of its family, 2 for any other."""
    if ours in theirs:
        return 0
    return 2 if ":" in ours else 2 - (find_family(theirs[0]).builder is find_family(ours).builder)
