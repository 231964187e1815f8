"""Building a model from its name and arguments, which are looked up and checked here."""

import difflib
import functools
import inspect
import json
import types
import typing
from collections.abc import Callable, Mapping
from sys import float_info
from typing import Any

from spikeformers.layers.pruning import prune_tokens
from spikeformers.layers.quantizer import quantize_weights
from spikeformers.models.folding import fold
from spikeformers.models.network import SpikingTransformer
from spikeformers.models.own_code import load_object
from spikeformers.models.parts import argument_errors, describe_part, find_part, slot_of
from spikeformers.models.registry import Builder, find_family

# Arguments that every model takes besides its builder's: parts that change it once it is built.
_CHANGES: dict[str, Callable[..., Any]] = {"pruning": prune_tokens, "quantizer": quantize_weights}


def build(name: str, overrides: Mapping[str, Any], *, allow_foreign: bool = True) -> SpikingTransformer:
    """Builds a model; `create_model` without weights.

    Args:
        name: A size, a family or `file.py:builder`.
        overrides: Arguments of the builder. Every model also takes `quantizer`, for its weights, `pruning`, for its
            tokens, and `folded`; `folded=True`, from the config of a folded model, folds it.
        allow_foreign: Whether `overrides` may name user-defined parts, whose code then runs.

    Returns:
        The model.

    Raises:
        ValueError: An unknown name or argument (with close matches), or a value that does not fit.
    """
    given = {key: value for key, value in overrides.items() if key != "folded"}
    builder, arguments, config = resolve(name, given, allow_foreign=allow_foreign)
    own = inspect.signature(builder).parameters
    changes = [(_CHANGES[key], arguments.pop(key)) for key in _CHANGES if key in arguments and key not in own]
    with argument_errors(given):
        model = builder(**{key: _fitted(key, value, arguments) for key, value in arguments.items()})
        for change, part in changes:
            change(model, part)
    model.config = config
    return fold(model) if overrides.get("folded") else model


def rebuild(config: Mapping[str, Any], *, allow_foreign: bool = True) -> SpikingTransformer:
    """The model of a `config`, with new weights."""
    arguments = {key: value for key, value in config.items() if key != "name"}
    return build(config["name"], arguments, allow_foreign=allow_foreign)


def resolve(
    name: str, overrides: Mapping[str, Any], *, allow_foreign: bool = True
) -> tuple[Builder, dict[str, Any], dict[str, Any]]:
    """The builder of a model, its arguments, and its config: `build` without building."""
    if ":" in name:
        if not allow_foreign:
            raise ValueError(
                f"the model {name!r} is not one of spikeformers: if you trust it, build it with create_model"
            )
        builder, size = load_object(name), {}
    else:
        family = find_family(name)
        builder, size = family.builder, family.sizes.get(name, {})
    parameters = inspect.signature(builder).parameters
    for argument in overrides:
        if argument not in (*parameters, *_CHANGES):
            close = difflib.get_close_matches(argument, parameters, n=3, cutoff=0.5) or list(parameters)
            raise ValueError(f"{name} takes no {argument!r}: did you mean {', '.join(close)}?")

    defaults = {key: p.default for key, p in parameters.items() if p.default is not p.empty}
    given = {key: value for key, value in overrides.items() if slot_of(key)}
    given = {key: find_part(str(slot_of(key)), value, allow_foreign=allow_foreign) for key, value in given.items()}
    derived = getattr(builder, "derived", lambda given: {})(given)  # the neck's neuron follows the trunk's
    arguments = {**defaults, **size, **derived, **overrides, **given}
    if missing := [key for key in parameters if key not in arguments]:
        raise ValueError(f"{name} is a family, not a size: it needs {', '.join(missing)} too")
    hints = typing.get_type_hints(builder)
    for key, value in arguments.items():
        if slot := slot_of(key):
            arguments[key] = find_part(slot, value, allow_foreign=allow_foreign)
        else:
            arguments[key] = _checked(f"{name}: {key}", value, hints.get(key, Any))
            if key in _RANGES:
                _check_range(f"{name}: {key}", arguments[key], *_RANGES[key])

    config = {
        key: describe_part(slot, value) if (slot := slot_of(key)) else _plain(value) for key, value in arguments.items()
    }
    try:
        json.dumps(config)
    except TypeError as error:
        raise ValueError(
            f"{name}: a settings file cannot store an argument of a part ({error}): give its name instead"
        ) from error
    return builder, arguments, {"name": name, **config}


def _fitted(argument: str, part: Any, arguments: Mapping[str, Any]) -> Any:
    """Passes `time_steps` to a part that takes it, unless it is set already. An activation of torch gets no threshold.

    Parts set `v_threshold` where they make a neuron; `torch.nn:ReLU`, as in a ReLU baseline, has none.
    """
    if not (slot := slot_of(argument)):
        return part
    made, given = (part.func, part.keywords) if isinstance(part, functools.partial) else (part, {})
    if "time_steps" in inspect.signature(part).parameters and "time_steps" not in given:
        return functools.partial(part, time_steps=arguments["time_steps"])
    if slot == "neuron" and str(made.__module__).startswith("torch.nn."):
        return functools.wraps(made)(lambda v_threshold=None: part())
    return part


# Ranges of numeric arguments, by name: from the first number, inclusive, to the second, exclusive.
_MORE, _ANY = float_info.min, float("inf")
_MOST = 2**20  # of anything that is counted; no machine holds a model with more
_COUNTS = (
    "dim dims neck_dim head_dim stem_dim decoder_dim reduction num_heads decoder_num_heads strides "
    "downsampling_strides pyramid in_channels"
)
_RANGES = {
    **dict.fromkeys(f"{_COUNTS} image_size".split(), (1, _MOST)),
    **dict.fromkeys(("depth", "decoder_depth", "head_depth"), (1, 1000)),  # each takes milliseconds to build
    "depths": (0, 1000),  # a stage of no blocks only shrinks the map
    **dict.fromkeys(("layer_scale", "projection_std", "anchor_scale"), (_MORE, _ANY)),
    "time_steps": (1, 10_000), "num_classes": (0, _MOST), "kernel_sizes": (0, 1000), "mlp_ratio": (_MORE, 1000),
    "drop_path": (0, 1), "mask_ratio": (_MORE, 1),
}  # fmt: skip


def _check_range(what: str, numbers: Any, least: float, most: float) -> None:
    for number in numbers if isinstance(numbers, tuple) else (numbers,):
        if isinstance(number, int | float) and not least <= number < most:  # also false for nan
            below = number < least != _MORE and most > 1
            within = f"not in {'(0' if least == _MORE else f'[{least}'}, {most})"
            raise ValueError(f"{what} {number} is {f'below {least}' if below else within}")


def _checked(what: str, value: Any, hint: Any) -> Any:
    """The value, if it has the declared type, else ValueError; only numbers, strings and tuples are checked."""
    options = typing.get_args(hint) if typing.get_origin(hint) in (types.UnionType, typing.Union) else (hint,)
    if value is None and type(None) in options:
        return value
    for option in options:
        if option is float and isinstance(value, int | float) and not isinstance(value, bool):
            return value
        if option in (int, bool, str) and type(value) is option:
            return value
        if typing.get_origin(option) is tuple and isinstance(value, list | tuple):
            inner = typing.get_args(option)
            if inner[-1] is ... or len(value) == len(inner):
                return tuple(_checked(what, item, inner[0]) for item in value)
        if option not in (float, int, bool, str, types.NoneType) and typing.get_origin(option) is not tuple:
            return value
    if any(typing.get_origin(option) is tuple for option in options) and not isinstance(value, list | tuple):
        raise ValueError(f"{what} {value!r} is not a list: write [{value}]")
    wanted = getattr(hint, "__name__", None) if typing.get_origin(hint) is None else None
    raise ValueError(f"{what} must be {wanted or hint}, not {value!r}")


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
