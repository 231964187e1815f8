"""The training settings that a comparison starts from: a recipe's, or for a model those of a recipe on its data."""

import dataclasses
import logging
from collections.abc import Collection, Sequence

from spikeformers.models._registry import find_family
from spikeformers.training.optim import total_epochs
from spikeformers.training.recipe import Recipe
from spikeformers.training.recipe_file import list_recipes, make_recipe, read_recipe

logger = logging.getLogger("spikeformers")


def base_recipe(name: str, words: Sequence[str] = ()) -> Recipe:
    """A recipe by its name or file, or the one to train a model by; `words` change fields, as in `read_recipe`.

    Warm-up, cool-down and the end of mixing keep their share of the epochs, where `words` do not give them.

    Raises ValueError, in one line, for a name that is neither, and what `read_recipe` raises.
    """
    if name in list_recipes() or name.endswith((".yaml", ".yml")):
        own, asked = read_recipe(name), read_recipe(name, words)
    else:
        own, asked = _for_model(name, words)
    given = {word.removeprefix("--").partition("=")[0] for word in words}
    return _in_proportion(asked, asked.epochs / own.epochs, given)


def with_total_epochs(recipe: Recipe, epochs: int) -> Recipe:
    """A recipe of so many epochs, its cool-down among them, in the proportions that it has."""
    changed = _in_proportion(recipe, epochs / total_epochs(recipe))
    return dataclasses.replace(changed, epochs=max(1, epochs - changed.schedule.cooldown_epochs))


def _in_proportion(recipe: Recipe, share: float, given: Collection[str] = ()) -> Recipe:
    """A recipe whose lengths, but for those `given`, are a share of what they are."""
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
            raise ValueError(f"{model!r} is no recipe either: {error}") from error
    plain = {"model": {"name": model}}
    data = make_recipe(plain, words).data.name
    recipes = {name: read_recipe(name) for name in list_recipes()}
    there = [name for name, recipe in recipes.items() if recipe.data.name == data]
    chosen = min(there, key=lambda name: _strangeness(recipes[name].model["name"], model), default=None)
    if chosen is None:
        logger.warning("no recipe is for %s: training settings are the defaults, those of `Recipe`", data)
        own, asked = make_recipe(plain), make_recipe(plain, words)
    else:
        logger.warning("training settings are those of the recipe %s", chosen)
        own, asked = (read_recipe(chosen, ["--model", model, *more]) for more in ((), words))
    asked.run = model.replace(".py:", "-").rpartition("/")[2]
    return own, asked


def _strangeness(theirs: str, ours: str) -> int:
    """0 for the same model, 1 for one of its family, 2 for another."""
    if theirs == ours:
        return 0
    return 2 if ":" in ours + theirs else 2 - (find_family(theirs) is find_family(ours))
