"""The fields of a recipe by dotted names, and what is said of a name or value that is none of them."""

import dataclasses
import difflib
import functools
import re
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from spikeformers.training.recipe import Recipe, named_part


def leaves(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names and values; a mapping is entered only if the recipe has fields or names inside it."""
    groups, open_groups, _ = recipe_fields()
    for key, value in settings.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and name in {*groups, *open_groups}:
            yield from leaves(value, f"{name}.")
        else:
            yield name, _plain(named_part(str(key).rpartition(".")[2], value))


def _plain(value: Any) -> Any:
    """The value with lists for tuples, as in a file."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return [*map(_plain, value)] if isinstance(value, list | tuple) else value


@functools.cache
def recipe_fields(cls: type = Recipe, prefix: str = "") -> tuple[set[str], set[str], set[str]]:
    """Dotted names in a recipe: groups of fields, groups open to any name inside, and plain fields."""
    groups, open_groups, plain = set(), set(), set()
    for name, hint in typing.get_type_hints(cls).items():
        if dataclasses.is_dataclass(hint):
            inner = recipe_fields(typing.cast(type, hint), f"{prefix}{name}.")
            groups |= {prefix + name} | inner[0]
            open_groups |= inner[1]
            plain |= inner[2]
        elif typing.get_origin(hint) is dict and typing.get_args(hint)[1] is Any:  # one of numbers is a single value
            open_groups.add(prefix + name)
        else:
            plain.add(prefix + name)
    return groups, open_groups, plain


@functools.cache
def text_fields(cls: type = Recipe, prefix: str = "") -> frozenset[str]:
    """Dotted names of the fields that are a string or null."""
    names: set[str] = set()
    for name, hint in typing.get_type_hints(cls).items():
        if dataclasses.is_dataclass(hint):
            names |= text_fields(typing.cast(type, hint), f"{prefix}{name}.")
        elif hint == str | None:
            names.add(prefix + name)
    return frozenset(names)


def check_known(key: str) -> None:
    """Raises ValueError, with close names, for a name that is no field."""
    groups, open_groups, plain = recipe_fields()
    if key in plain | open_groups or any(key.startswith(f"{group}.") for group in open_groups):
        return
    if key in groups:
        inside = sorted(name for name in plain if name.startswith(f"{key}."))
        raise ValueError(f"{key} is a group of settings: give its fields, {', '.join(inside)}")
    close = difflib.get_close_matches(key, plain | open_groups | groups, n=3, cutoff=0.5)
    if not close:  # perhaps the group was left out
        close = sorted(name for name in plain if name.rpartition(".")[2] == key.rpartition(".")[2])
    raise ValueError(f"there is no setting {key!r}: " + (f"did you mean {', '.join(close)}?" if close else _HELP))


_HELP = "spikeformers/training/recipe.py lists them all"


def one_line(message: str) -> str:
    """jsonargparse's report of an ill-typed field, cut to its name, type and value."""
    field = re.search(r'key "([^"]+)"', message)
    value = re.search(r"(?:Got value|Given value): (.*)", message)
    wanted = re.search(r"Subtypes: [\[(](.*)[\])]|Expected an? (.*?)\. Got", message)
    if not (field and value and wanted):
        return " ".join(message.split())
    types = re.sub(r"<class '([\w.]+)'>", r"\1", wanted[1] or wanted[2]).replace("NoneType", "null")
    types = (
        re.sub(r"^typing.Literal\[(.*)\]$", r"one of \1", types) if "Literal" in types else types.replace(", ", " or ")
    )
    types = re.sub(r"\bbool\b", "true or false", types)
    return f"{field[1]} must be {types}, not {value[1]!r}"
