"""Names of parts in settings files: how `attention=SSA` is written and read back.

Our parts are class names in their slot (`SSA`); user-defined parts are `package.module:Name` or `path/file.py:Name`.
A part with arguments, in Python a `functools.partial`, is a mapping: `{"part": "SSA", "scale": 0.25}`.
"""

import dataclasses
import difflib
import functools
import importlib
import importlib.util
import inspect
import json
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import nn

from spikeformers.models.own_code import is_activation, load_object, own_files

_SLOTS = {
    "neuron": "spikeformers.neurons",
    "surrogate": "spikeformers.ops.surrogate",
    "attention": "spikeformers.layers.attention",
    "projection": "spikeformers.layers.projection",
    "mlp": "spikeformers.layers.mlp",
    "position": "spikeformers.layers.position",
    "shortcut": "spikeformers.layers.shortcut",
    "stem": "spikeformers.layers.stem",
    "downsampling": "spikeformers.layers.stem",  # a stem between stages
    "conv": "spikeformers.layers.conv",
    "head": "spikeformers.layers.head",
    "neck": "spikeformers.layers.neck",
    "order": "spikeformers.layers.masking",
    "quantizer": "spikeformers.layers.quantizer",
    "pruning": "spikeformers.layers.pruning",
}


def slot_of(argument: str) -> str | None:
    """The slot of an argument, by the last word of its name: `neuron`, `stem_neuron` -> "neuron"."""
    word = argument.rpartition("_")[2]
    return word if word in _SLOTS else None


def find_part(slot: str, spec: Any, *, allow_foreign: bool = True) -> Any:
    """The callable for a slot from a name, a mapping or a part itself.

    Raises ValueError for an unknown name, a mapping without "part", and, unless `allow_foreign`, for the name of a
    user-defined part, whose import would run its code.
    """
    if isinstance(spec, dict):
        arguments = {key: value for key, value in spec.items() if key != "part"}
        if "part" not in spec:
            raise ValueError(f"{slot} {spec} has no part: write {{part: {part_names(slot)[0]}, ...}}")
        part = spec["part"]
        if isinstance(part, str):
            part = _find_named(slot, part, allow_foreign)
        if not callable(part):
            raise ValueError(f"{slot} {spec} has {part!r} for its part: name one, as {', '.join(part_names(slot))}")
        for key, value in arguments.items():
            if inner := slot_of(key):
                arguments[key] = find_part(inner, value, allow_foreign=allow_foreign)
            elif isinstance(value, str) and ":" in value and not allow_foreign:
                raise _foreign(slot, value)
        _check_arguments(slot, part, arguments)
        return part(**arguments) if slot == "surrogate" else functools.partial(part, **arguments)
    if not isinstance(spec, str):
        if not callable(spec) or isinstance(spec, nn.Module):
            raise ValueError(f"{slot} {spec!r} is not a part: give a class, its name, or a mapping with `part`")
        return spec
    part = _find_named(slot, spec, allow_foreign)
    return part() if slot == "surrogate" and inspect.isclass(part) else part


def _find_named(slot: str, name: str, allow_foreign: bool) -> Any:
    if ":" in name:
        if not (allow_foreign or is_activation(name)):
            raise _foreign(slot, name)
        part = load_object(name)
        if not callable(part):
            raise ValueError(f"{slot} {name} is {part!r}, not a class or function: name one that makes a part")
        return part
    if name not in (names := part_names(slot)):
        close = difflib.get_close_matches(name, names, n=3, cutoff=0.4) or names
        raise ValueError(f"there is no {slot} {name!r}: did you mean {', '.join(close)}? Give your own as file.py:Name")
    return getattr(importlib.import_module(_SLOTS[slot]), name)


def describe_part(slot: str, part: Any) -> Any:
    """The inverse of `find_part`: the part's name or mapping for JSON."""
    if isinstance(part, functools.partial):
        arguments = dict(part.keywords)
        if part.args:  # positional arguments get names
            arguments = {**dict(zip(inspect.signature(part.func).parameters, part.args, strict=False)), **arguments}
        return {"part": describe_part(slot, part.func), **{k: _describe_value(k, v) for k, v in arguments.items()}}
    if dataclasses.is_dataclass(part) and not isinstance(part, type):
        name = describe_part(slot, type(part))
        changed = {
            f.name: getattr(part, f.name) for f in dataclasses.fields(part) if getattr(part, f.name) != f.default
        }
        return {"part": name, **changed} if changed else name
    name = getattr(part, "__qualname__", type(part).__qualname__)
    if name in part_names(slot) and getattr(importlib.import_module(_SLOTS[slot]), name) is part:
        return name
    module = sys.modules.get(getattr(part, "__module__", "__main__"))
    file = getattr(module, "__file__", None)
    # The script is "__mp_main__" in processes that multiprocessing spawns.
    names = ("__main__", "__mp_main__")
    named_by_file = module is not None and (module.__name__ in names or module.__name__.startswith("file:"))
    return f"{file if named_by_file and file else getattr(part, '__module__', '__main__')}:{name}"


def part_name(spec: Any) -> str:
    """The bare name of a description: `SSA` of its mapping, `Own` of `own.py:Own`; anything else in words."""
    return str(spec.get("part", spec) if isinstance(spec, dict) else spec).rpartition(":")[2]


@contextmanager
def argument_errors(settings: Mapping[str, Any]) -> Iterator[None]:
    """Turns errors of our parts that `settings` give arguments to into one-line ValueErrors.

    Errors without such a part, with a user-defined one, or of the builder itself pass unchanged.
    """
    try:
        yield
    except (TypeError, AttributeError, RuntimeError, ValueError, OverflowError) as error:
        given = {key: value for key, value in settings.items() if isinstance(value, Mapping) and slot_of(key)}
        if not given or own_files(dict(settings)):
            raise
        raising = {key: value for key, value in given.items() if _raised_in(key, value.get("part"), error)}
        parts = " or ".join(f"{key} {json.dumps(value, default=str)}" for key, value in (raising or given).items())
        message = " ".join(str(error).split())
        if isinstance(error, ValueError):  # our own message
            if not raising:
                raise
            raise ValueError(f"{parts}: {message}") from error
        message = f"{type(error).__name__}: {message}"
        raise ValueError(f"{parts} got an argument that it cannot use ({message}): check types and sizes") from error


def _raised_in(argument: str, part: Any, error: Exception) -> bool:
    """Whether the error passed through the code of the part that `argument` got."""
    part = _find_named(str(slot_of(argument)), part, True) if isinstance(part, str) else part
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    if inspect.isclass(part):
        return any(isinstance(frame.f_locals.get("self"), part) for frame in frames)
    return any(frame.f_code is getattr(part, "__code__", None) for frame in frames)


def part_names(slot: str) -> list[str]:
    """The names of our parts for a slot."""
    module = importlib.import_module(_SLOTS[slot])
    own = [name for name, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__]
    names = getattr(module, "__all__", own)
    return [name for name in names if inspect.isclass(getattr(module, name)) and not name.startswith("_")]


def _describe_value(argument: str, value: Any) -> Any:
    slot = slot_of(argument)
    if slot and not isinstance(value, str | dict):
        return describe_part(slot, value)
    return list(value) if isinstance(value, tuple) else value


def _check_arguments(slot: str, part: Callable[..., Any], arguments: dict[str, Any]) -> None:
    parameters = inspect.signature(part).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    name = getattr(part, "__name__", part)
    for argument, value in arguments.items():
        if argument not in parameters:
            close = difflib.get_close_matches(argument, parameters, n=3, cutoff=0.4) or list(parameters)
            raise ValueError(f"{slot} {name} takes no {argument!r}: did you mean {', '.join(close)}?")
        if parameters[argument].annotation is bool and not isinstance(value, bool):
            raise ValueError(f"{slot} {name} takes true or false for {argument}, not {value!r}")


def _foreign(slot: str, name: str) -> ValueError:
    return ValueError(
        f"the {slot} {name!r} is not a part of spikeformers: if you trust it, pass it as {slot}=... to "
        "from_pretrained or Predictor in Python"
    )
