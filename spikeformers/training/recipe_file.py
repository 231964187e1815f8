"""Recipes on disk: found by name, read from YAML, overridden field by field, refused in one line."""

import dataclasses
import difflib
import itertools
import json
import re
import typing
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentParser

from spikeformers.training.recipe import Recipe, named_part


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

    Raises ValueError, in one line with the field's name, for a misspelt or ill-typed field.
    """
    recipe = make_recipe(_load(find_recipe(name)), overrides)
    recipe.run = recipe.run or Path(name).stem
    return recipe


def make_recipe(settings: Mapping[str, Any], overrides: Mapping[str, Any] | Sequence[str] = ()) -> Recipe:
    """A recipe from settings as a file has them, with some fields changed: `read_recipe` without a file."""
    words = [*_as_words(overrides)] if isinstance(overrides, Mapping) else _one_word_each(overrides)
    for key in [*(key for key, _ in _leaves(settings)), *(word.removeprefix("--").partition("=")[0] for word in words)]:
        _check_known(key)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Recipe)
    try:
        parsed = parser.parse_args(words, namespace=parser.parse_object(dict(settings)))
    except Exception as error:  # jsonargparse has several kinds, each of several lines
        raise ValueError(_one_line(str(error))) from error
    return Recipe(**vars(parser.instantiate(parsed)))


def _load(file: Traversable) -> dict[str, Any]:
    try:
        settings = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(settings, dict):
        raise ValueError(f"{file} holds no settings: write fields, as in `epochs: 10`")
    return settings


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


def _fields(cls: type = Recipe, prefix: str = "") -> tuple[set[str], set[str], set[str]]:
    """Dotted names in a recipe: groups of fields, groups open to any name inside, and plain fields."""
    groups, open_groups, plain = set(), set(), set()
    for name, hint in typing.get_type_hints(cls).items():
        if dataclasses.is_dataclass(hint):
            inner = _fields(typing.cast(type, hint), f"{prefix}{name}.")
            groups |= {prefix + name} | inner[0]
            open_groups |= inner[1]
            plain |= inner[2]
        elif typing.get_origin(hint) is dict:
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
