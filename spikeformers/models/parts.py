"""Names on disk for parts: how `attention=SSA` is written to a settings file and found again.

A part of ours is its class name in its slot (`SSA`), anyone else's is `package.module:Name` or `path/file.py:Name`.
With arguments it is a mapping: `{"part": "SSA", "scale": 0.25}`, which is what `functools.partial` is in Python.
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
from pathlib import Path
from typing import Any

from torch import nn

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
    "order": "spikeformers.layers.masking",
}


def slot_of(argument: str) -> str | None:
    """The slot that an argument's name stands for, by its last word: `neuron`, `stem_neuron` -> "neuron"."""
    word = argument.rpartition("_")[2]
    return word if word in _SLOTS else None


def find_part(slot: str, spec: Any, *, allow_foreign: bool = True) -> Any:
    """What a name, a mapping or a part itself stands for in a slot: something to call for a part.

    Raises ValueError for an unknown name, for a mapping without "part", and, unless `allow_foreign`, for the name of a
    part that is not ours: to find it would run somebody's code.
    """
    if isinstance(spec, dict):
        arguments = {key: value for key, value in spec.items() if key != "part"}
        if "part" not in spec:
            raise ValueError(f"{slot} {spec} has no part: write {{part: {part_names(slot)[0]}, ...}}")
        part = spec["part"]
        if isinstance(part, str):
            part = _find_named(slot, part, allow_foreign)
        for key, value in arguments.items():
            if inner := slot_of(key):
                arguments[key] = find_part(inner, value, allow_foreign=allow_foreign)
            elif isinstance(value, str) and ":" in value and not allow_foreign:
                raise _foreign(slot, value)
        _check_arguments(slot, part, arguments)
        return part(**arguments) if slot == "surrogate" else functools.partial(part, **arguments)
    if not isinstance(spec, str):
        if not callable(spec) or isinstance(spec, nn.Module):
            raise ValueError(f"{slot} {spec!r} is not a part: give a class, its name, or a mapping with part: and more")
        return spec
    part = _find_named(slot, spec, allow_foreign)
    return part() if slot == "surrogate" and inspect.isclass(part) else part


def _find_named(slot: str, name: str, allow_foreign: bool) -> Any:
    if ":" in name:
        if not allow_foreign:
            raise _foreign(slot, name)
        part = load_object(name)
        if not callable(part):
            raise ValueError(f"{slot} {name} is {part!r}, no class or function that makes a part")
        return part
    if name not in (names := part_names(slot)):
        close = difflib.get_close_matches(name, names, n=3, cutoff=0.4) or names
        raise ValueError(f"there is no {slot} {name!r}: did you mean {', '.join(close)}? Yours is file.py:Name")
    return getattr(importlib.import_module(_SLOTS[slot]), name)


def describe_part(slot: str, part: Any) -> Any:
    """The name on disk of a part: the inverse of `find_part`, ready for JSON."""
    if isinstance(part, functools.partial):
        arguments = dict(part.keywords)
        if part.args:  # positional ones are named, so that the mapping can be read
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
    """The bare name in what `describe_part` returns: `SSA` of a mapping for it, `Own` of `own.py:Own`."""
    return (spec["part"] if isinstance(spec, dict) else spec).rpartition(":")[2]


def load_object(name: str) -> Any:
    """What `package.module:Name` or `path/file.py:Name` names. Runs that module.

    Raises ValueError where there is no such file, module or name.
    """
    where, _, attribute = name.rpartition(":")
    try:
        module = _load_file(Path(where)) if where.endswith(".py") else importlib.import_module(where)
    except (ImportError, FileNotFoundError) as error:
        raise ValueError(f"{name} cannot be loaded: {error}") from error
    if not hasattr(module, attribute):
        names = [n for n in vars(module) if not n.startswith("_")]
        close = difflib.get_close_matches(attribute, names, n=3)
        raise ValueError(f"{where} has no {attribute}" + (f": did you mean {', '.join(close)}?" if close else ""))
    return getattr(module, attribute)


def _load_file(path: Path) -> Any:
    path = path.resolve()
    main = sys.modules.get("__main__")
    if (script := getattr(main, "__file__", None)) and Path(script).resolve() == path:
        return main  # the script that runs: to load it as another module would run it again
    key = f"file:{path}"  # one module a file, so that a class loaded twice is one class
    if key not in sys.modules:
        if not path.is_file():
            raise FileNotFoundError(f"there is no file {path}")
        spec = importlib.util.spec_from_file_location(key, path)
        assert spec and spec.loader
        module = sys.modules[key] = importlib.util.module_from_spec(spec)
        try:
            with user_code_errors({path}):
                spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[key]
            raise
    return sys.modules[key]


def own_files(settings: Any) -> set[Path]:
    """The files that a model's settings take parts from, as `my_ideas.py:MyAttention` does."""
    if isinstance(settings, dict):
        settings = list(settings.values())
    if isinstance(settings, list | tuple):
        return set().union(*map(own_files, settings))
    where, colon, name = settings.rpartition(":") if isinstance(settings, str) else ("", "", "")
    if not colon or not name.isidentifier():
        return set()
    if where.endswith(".py"):
        return {Path(where)}
    file = getattr(sys.modules.get(where), "__file__", None)
    return {Path(file)} if file else set()


@contextmanager
def user_code_errors(files: set[Path]) -> Iterator[None]:
    """Raises what goes wrong in somebody's own parts as a ValueError of one line that says where.

    Without `files` of theirs, an error is ours, and left as it is.
    """
    try:
        yield
    except (ValueError, OSError, ImportError):
        raise
    except Exception as error:
        if not files:
            raise
        own = {path.resolve(): path for path in files}
        places = [(Path(frame.filename), frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
        if isinstance(error, SyntaxError) and error.filename:
            places.append((Path(error.filename), error.lineno))
        named = [f"{own[path]}, line {line}" for path, line in places if path in own]
        where = named[-1] if named else ", ".join(map(str, files))
        raise ValueError(f"{where}: {type(error).__name__}: {' '.join(str(error).split())}") from error


@contextmanager
def argument_errors(settings: Mapping[str, Any]) -> Iterator[None]:
    """Raises what goes wrong in parts of ours that `settings` give arguments to as a ValueError of one line.

    An error with no such part, or in somebody's own, is left as it is.
    """
    try:
        yield
    except (TypeError, AttributeError, RuntimeError, ValueError) as error:
        given = {key: value for key, value in settings.items() if isinstance(value, Mapping) and slot_of(key)}
        if not given or own_files(dict(settings)):
            raise
        parts = " or ".join(f"{key} {json.dumps(value, default=str)}" for key, value in given.items())
        said = " ".join(str(error).split())
        if isinstance(error, ValueError):  # in words of ours
            raise ValueError(f"{parts}: {said}") from error
        said = f"{type(error).__name__}: {said}"
        raise ValueError(f"{parts} was given an argument that it cannot use ({said}): check types and sizes") from error


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
    for argument in arguments:
        if argument not in parameters:
            close = difflib.get_close_matches(argument, parameters, n=3, cutoff=0.4) or list(parameters)
            name = getattr(part, "__name__", part)
            raise ValueError(f"{slot} {name} takes no {argument!r}: did you mean {', '.join(close)}?")


def _foreign(slot: str, name: str) -> ValueError:
    return ValueError(
        f"the {slot} {name!r} is not a part of spikeformers: if you trust it, pass it in as {slot}=..., in Python by "
        "from_pretrained or Predictor"
    )
