"""The base settings of a comparison: those of a recipe, or, for a model, of a recipe for its data."""

import dataclasses
import difflib
import logging
from collections.abc import Collection, Sequence

from spikeformers.models.registry import find_family
from spikeformers.training.optim import total_epochs
from spikeformers.training.recipe import Recipe
from spikeformers.training.recipe_file import list_recipes, make_recipe, read_recipe, recipe_sizes

logger = logging.getLogger("spikeformers")


def base_recipe(name: str, words: Sequence[str] = ()) -> Recipe:
    """A recipe by name or file, or the recipe to train a model by.

    Warm-up, cool-down and the end of mixup keep their share of the epochs, unless `words` set them.

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
    return _in_proportion(asked, asked.epochs / own.epochs, given)


def with_total_epochs(recipe: Recipe, epochs: int) -> Recipe:
    """A recipe with this number of epochs, including its cool-down, in unchanged proportions."""
    changed = _in_proportion(recipe, epochs / total_epochs(recipe))
    return dataclasses.replace(changed, epochs=max(1, epochs - changed.schedule.cooldown_epochs))


def _in_proportion(recipe: Recipe, share: float, given: Collection[str] = ()) -> Recipe:
    """A recipe with its lengths scaled by `share`, except those in `given`."""
    lengths = {"schedule": ("warmup_epochs", "cooldown_epochs"), "augment": ("mix_off_epoch",)}
    for group, fields in lengths.items():
        settings = getattr(recipe, group)
        there = {field: getattr(settings, field) for field in fields if f"{group}.{field}" not in given}
        scaled = {field: round(length * share) for field, length in there.items() if length is not None}
        recipe = dataclasses.replace(recipe, **{group: dataclasses.replace(settings, **scaled)})
    return recipe


def _for_model(model: str, words: Sequence[str]) -> tuple[Recipe, Recipe]:
    if ":" not in model:
        try:
            find_family(model)
        except ValueError as error:
            close = ", ".join(difflib.get_close_matches(model, list_recipes(), n=2))
            meant = f"no recipe either (did you mean {close}?)" if close else "no recipe either"
            raise ValueError(f"{model!r} is {meant}: {error}") from error
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
