"""Recipe files: found by name, read from YAML, with fields replaced from the command line."""

import difflib
import functools
import itertools
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from spikeformers.models.registry import find_family, list_families
from spikeformers.training.limits import check_finite
from spikeformers.training.recipe import Recipe
from spikeformers.training.recipe_fields import check_known, leaves, one_line, recipe_fields, text_fields
from spikeformers.training.yaml_text import read_yaml

logger = logging.getLogger("spikeformers")

Change = tuple[str, Any]  # a field by its dotted name, and its new value


def list_recipes() -> list[str]:
    """Names of the recipes that come with the package."""
    folder = files("spikeformers") / "recipes"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def find_recipe(name: str) -> Traversable:
    """The file of a shipped recipe, or a path that ends in `.yaml`.

    Raises ValueError, with close names, if there is none.
    """
    if name.endswith((".yaml", ".yml")):
        if not Path(name).is_file():
            raise ValueError(f"there is no recipe file {name}: `spikeformers recipes` lists those in the package")
        return Path(name)
    if name in list_recipes():
        return files("spikeformers") / "recipes" / f"{name}.yaml"
    close = difflib.get_close_matches(name, list_recipes(), n=3, cutoff=0.4) or list_recipes()
    raise ValueError(f"there is no recipe {name!r}: did you mean {', '.join(close)}? Give your own as mine.yaml")


def recipe_head(name: str) -> str:
    """The comment at the head of a recipe: paper, published accuracy, our measurement, command."""
    lines = find_recipe(name).read_text(encoding="utf-8").splitlines()
    return "\n".join(
        line.removeprefix("#").strip() for line in itertools.takewhile(lambda line: line.startswith("#"), lines)
    )


def read_recipe(name: str, overrides: Mapping[str, Any] | Sequence[str] = ()) -> Recipe:
    """A recipe by name or file, with some fields changed.

    `overrides` is a mapping, nested or dotted, as `{"epochs": 3, "optimizer.lr": 1e-3}`, or the words of a command
    line, as `["--epochs", "3"]`. In both, a name for `model` replaces the whole model, one for `data` its name.

    A recipe with `sizes` is for those models, the first unless another is named: the row of that name holds the fields
    that differ for it. Another size of the family has the common values, and a log line says so.

    Raises ValueError, in one line with the field's name, for a misspelt or ill-typed field, and for a model that a
    recipe with sizes is not for.
    """
    settings, changes = _load(find_recipe(name)), [*_changes(overrides)]
    if "sizes" in settings:
        settings, changes = _with_size(settings, changes, name)
    recipe = _make(settings, changes)
    recipe.run = recipe.run or Path(name).stem
    return recipe


def make_recipe(settings: Mapping[str, Any], overrides: Mapping[str, Any] | Sequence[str] = ()) -> Recipe:
    """A recipe from settings as a file without `sizes` has them, with some fields changed as in `read_recipe`."""
    return _make(settings, _changes(overrides))


def _make(settings: Mapping[str, Any], changes: Iterable[Change]) -> Recipe:
    flat = dict(leaves(settings))
    for key, value in changes:
        if key == "model" and isinstance(value, str):
            value = {"name": value}
        elif key == "data" and isinstance(value, str):
            key = "data.name"
        # A value replaces what was set inside it, and the value that it is inside.
        flat = {k: v for k, v in flat.items() if not (k.startswith(f"{key}.") or key.startswith(f"{k}."))}
        flat |= dict(leaves({key: value}))
    for key, value in flat.items():
        check_known(key)
        check_finite(key, value)
    nested: dict[str, Any] = {}
    for key, value in flat.items():
        *groups, last = key.split(".")
        functools.reduce(lambda inside, group: inside.setdefault(group, {}), groups, nested)[last] = value
    parser = _parser()
    try:
        parsed = parser.parse_object(nested)
    except Exception as error:  # jsonargparse has several kinds, each of several lines
        raise ValueError(one_line(str(error))) from error
    recipe = Recipe(**vars(parser.instantiate(parsed)))
    for key, value in flat.items():  # the parser reads words as YAML, in which `#` and `&a` are empty
        *groups, last = key.split(".")
        if key not in text_fields() or not isinstance(value, str) or value.lower() in ("", "~", "null"):
            continue
        holder = functools.reduce(getattr, groups, recipe)
        if getattr(holder, last) is None:
            setattr(holder, last, value)
    return recipe


@functools.cache
def _parser() -> ArgumentParser:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Recipe)
    return parser


def _load(file: Traversable) -> dict[str, Any]:
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not valid YAML: {error}") from error
    settings = read_yaml(text, str(file))
    if not isinstance(settings, dict):
        raise ValueError(f"{file} holds no settings: write fields, as in `epochs: 10`")
    return settings


def recipe_sizes(name: str) -> list[str]:
    """The models that a recipe has rows for, its default first; without rows, its one model."""
    settings = _load(find_recipe(name))
    return [*settings["sizes"]] if "sizes" in settings else [settings["model"]["name"]]


def _with_size(settings: dict[str, Any], changes: list[Change], recipe: str) -> tuple[dict[str, Any], list[Change]]:
    """The settings of one row of the table, and the changes that do not name the row."""
    sizes = settings.pop("sizes")
    if not (isinstance(sizes, dict) and sizes and all(isinstance(row, dict | None) for row in sizes.values())):
        raise ValueError(f"sizes of {recipe} is not a table: write each model's name and the fields that differ for it")
    model, kept = next(iter(sizes)), []
    for key, value in changes:
        named = {"name": value} if key == "model" and isinstance(value, str) else value
        if key == "model" and isinstance(named, Mapping):
            model = named.get("name", model)
            kept += [(f"model.{name}", argument) for name, argument in named.items() if name != "name"]
        elif key == "model.name":
            model = value
        else:
            kept.append((key, value))
    row = sizes.get(model) if isinstance(model, str) else None  # other types are refused below, as in any field
    if isinstance(model, str) and model not in sizes:
        _check_family(model, [*sizes], recipe)
        logger.warning("%s has no row for %s: it gets the values that all sizes share", recipe, model)
    return {"model.name": model, **dict(leaves(settings)), **dict(leaves(row or {}))}, kept


def _check_family(model: str, sizes: list[str], recipe: str) -> None:
    """Raises ValueError for a model whose family has no row in the recipe."""
    families = {find_family(size).builder for size in sizes}
    if ":" in model or model in list_families() or find_family(model).builder not in families:
        raise ValueError(
            f"{recipe} is for {', '.join(sizes)}, not for {model}: for another model write your own file, "
            f"with model: {{name: {model}}} and no sizes"
        )


def _changes(overrides: Mapping[str, Any] | Sequence[str]) -> Iterator[Change]:
    """Dotted names and new values of fields, from a mapping or from the words of a command line."""
    if isinstance(overrides, Mapping):
        yield from leaves(overrides)
        return
    words = iter(overrides)
    for word in words:
        key, equals, value = word.partition("=")
        if not word.startswith("--"):
            raise ValueError(f"the word {word!r} belongs to no field: write --field value, as in --epochs 3")
        if not equals and (value := next(words, None)) is None:
            raise ValueError(f"{key} has no value: write {key} value")
        key = key.removeprefix("--")
        yield key, read_yaml(value, key) if value.startswith("{") and key in recipe_fields()[1] else value
