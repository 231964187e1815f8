"""Recipes on disk: found by name, read from YAML, overridden field by field, refused in one line."""

import dataclasses
import difflib
import functools
import itertools
import json
import logging
import re
import typing
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentParser

from spikeformers.models.registry import find_family, list_families
from spikeformers.training.recipe import Recipe, named_part

logger = logging.getLogger("spikeformers")


def list_recipes() -> list[str]:
    """Names of the recipes that come with the package."""
    folder = files("spikeformers") / "recipes"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def find_recipe(name: str) -> Traversable:
    """The file of a shipped recipe, or of a path that ends in `.yaml`.

    Raises ValueError, with the close names, where there is none.
    """
    if name.endswith((".yaml", ".yml")):
        if not Path(name).is_file():
            raise ValueError(f"there is no recipe file {name}: `spikeformers recipes` lists those that come along")
        return Path(name)
    if name in list_recipes():
        return files("spikeformers") / "recipes" / f"{name}.yaml"
    close = difflib.get_close_matches(name, list_recipes(), n=3, cutoff=0.4) or list_recipes()
    raise ValueError(f"there is no recipe {name!r}: did you mean {', '.join(close)}? Your own is a file, mine.yaml")


def recipe_head(name: str) -> str:
    """The comment at the head of a recipe: paper, published accuracy, what we measured, its command."""
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
    settings = _load(find_recipe(name))
    words = [*_as_words(overrides)] if isinstance(overrides, Mapping) else _one_word_each(overrides)
    if "sizes" in settings:
        settings, words = _with_size(settings, words, name)
    recipe = make_recipe(settings, words)
    recipe.run = recipe.run or Path(name).stem
    return recipe


def make_recipe(settings: Mapping[str, Any], words: Sequence[str] = ()) -> Recipe:
    """A recipe from settings as a file without `sizes` has them, with some fields changed by words."""
    words = _one_word_each(words)
    for key in [*(key for key, _ in _leaves(settings)), *(word.removeprefix("--").partition("=")[0] for word in words)]:
        _check_known(key)
    parser = _parser()
    try:
        parsed = parser.parse_args(words, namespace=parser.parse_object(dict(settings)))
    except Exception as error:  # jsonargparse has several kinds, each of several lines
        raise ValueError(_one_line(str(error))) from error
    return Recipe(**vars(parser.instantiate(parsed)))


@functools.cache
def _parser() -> ArgumentParser:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Recipe)
    return parser


def _load(file: Traversable) -> dict[str, Any]:
    try:
        settings = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(settings, dict):
        raise ValueError(f"{file} holds no settings: write fields, as in `epochs: 10`")
    return settings


def recipe_sizes(name: str) -> list[str]:
    """The models a recipe has a row for, its default first; of one without rows, its model alone."""
    settings = _load(find_recipe(name))
    return [*settings["sizes"]] if "sizes" in settings else [settings["model"]["name"]]


def _with_size(settings: dict[str, Any], words: list[str], recipe: str) -> tuple[dict[str, Any], list[str]]:
    """The settings of one row of the table, and the words without those that name the row."""
    sizes = settings.pop("sizes")
    if not (isinstance(sizes, dict) and sizes and all(isinstance(row, dict | None) for row in sizes.values())):
        raise ValueError(f"sizes of {recipe} is not a table: write a model's name and the fields that differ for it")
    model, kept = next(iter(sizes)), []
    for word in words:
        field, _, value = word.partition("=")
        if field == "--model.name":
            model = value
        elif field == "--model":
            named = json.loads(value)
            model = named.pop("name", model)
            kept += [
                f"--model.{key}={value if isinstance(value, str) else json.dumps(value)}"
                for key, value in named.items()
            ]
        else:
            kept.append(word)
    if model not in sizes:
        _check_family(model, [*sizes], recipe)
        logger.warning("%s has no row for %s: it gets the values that all sizes share", recipe, model)
    settings = _merged(settings, sizes.get(model) or {})
    return _merged({"model": {"name": model}}, settings), kept


def _check_family(model: str, sizes: list[str], recipe: str) -> None:
    """Raises ValueError for a model of another family than those a recipe has rows for."""
    families = {find_family(size).builder for size in sizes}
    if ":" in model or model in list_families() or find_family(model).builder not in families:
        raise ValueError(
            f"{recipe} is for {', '.join(sizes)}, and not for {model}: for another model write a file of your own, "
            f"with model: {{name: {model}}} and no sizes"
        )


def _merged(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with some of them changed, group by group; `changes` may have dotted names."""
    merged = dict(settings)
    for key, value in changes.items():
        group, _, rest = str(key).partition(".")
        value = {rest: value} if rest else value
        both = isinstance(value, Mapping) and isinstance(merged.get(group, {}), Mapping)
        merged[group] = _merged(merged.get(group, {}), value) if both else value
    return merged


def _as_words(overrides: Mapping[str, Any]) -> Iterator[str]:
    for key, value in _leaves(overrides):
        value = named_part(key.rpartition(".")[2], value)
        yield from _one_word_each([f"--{key}={value if isinstance(value, str) else json.dumps(value)}"])


def _one_word_each(words: Sequence[str]) -> list[str]:
    """`--field value` and `--field=value` as the latter, with the two fields that take a plain name spelt out."""
    joined: list[str] = []
    waiting = ""
    for word in words:
        if waiting:
            joined.append(f"{waiting}={word}")
            waiting = ""
        elif not word.startswith("--"):
            raise ValueError(f"the word {word!r} belongs to no field: write --field value, as in --epochs 3")
        elif "=" in word:
            joined.append(word)
        else:
            waiting = word
    if waiting:
        raise ValueError(f"{waiting} has no value: write {waiting} value")
    return [_spelt_out(word) for word in joined]


def _spelt_out(word: str) -> str:
    field, _, value = word.partition("=")
    if field == "--data":
        return f"--data.name={value}"
    if field == "--model" and not value.startswith("{"):
        return f"--model={json.dumps({'name': value})}"
    return word


def _leaves(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names and values; a mapping is entered only where the recipe has fields, or names, inside."""
    groups, open_groups, _ = _fields()
    for key, value in settings.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and name in {*groups, *open_groups}:
            yield from _leaves(value, f"{name}.")
        else:
            yield name, value


@functools.cache
def _fields(cls: type = Recipe, prefix: str = "") -> tuple[set[str], set[str], set[str]]:
    """Dotted names in a recipe: groups of fields, groups open to any name inside, and plain fields."""
    groups, open_groups, plain = set(), set(), set()
    for name, hint in typing.get_type_hints(cls).items():
        if dataclasses.is_dataclass(hint):
            inner = _fields(typing.cast(type, hint), f"{prefix}{name}.")
            groups |= {prefix + name} | inner[0]
            open_groups |= inner[1]
            plain |= inner[2]
        elif typing.get_origin(hint) is dict and typing.get_args(hint)[1] is Any:  # one of numbers is a single value
            open_groups.add(prefix + name)
        else:
            plain.add(prefix + name)
    return groups, open_groups, plain


def _check_known(key: str) -> None:
    groups, open_groups, plain = _fields()
    if key in plain | open_groups or any(key.startswith(f"{group}.") for group in open_groups):
        return
    if key in groups:
        inside = sorted(name for name in plain if name.startswith(f"{key}."))
        raise ValueError(f"{key} is a group of settings: give its fields, {', '.join(inside)}")
    close = difflib.get_close_matches(key, plain | open_groups | groups, n=3, cutoff=0.5)
    if not close:  # perhaps the field is right and its group was left out
        close = sorted(name for name in plain if name.rpartition(".")[2] == key.rpartition(".")[2])
    raise ValueError(f"there is no setting {key!r}: " + (f"did you mean {', '.join(close)}?" if close else _HELP))


_HELP = "spikeformers/training/recipe.py lists them all"


def _one_line(message: str) -> str:
    """jsonargparse's report of an ill-typed field, cut to its name, its value and what belongs there."""
    field = re.search(r'key "([^"]+)"', message)
    value = re.search(r"(?:Got value|Given value): (.*)", message)
    wanted = re.search(r"Subtypes: [\[(](.*)[\])]|Expected an? (.*?)\. Got", message)
    if not (field and value and wanted):
        return " ".join(message.split())
    types = re.sub(r"<class '([\w.]+)'>", r"\1", wanted[1] or wanted[2]).replace("NoneType", "null")
    types = (
        re.sub(r"^typing.Literal\[(.*)\]$", r"one of \1", types) if "Literal" in types else types.replace(", ", " or ")
    )
    return f"{field[1]} is {value[1]!r}, where {types} belongs"
