"""The types and ranges of a recipe's settings. Every recipe is checked here."""

import dataclasses
import datetime
import types
import typing
from collections.abc import Iterator
from typing import Any, NamedTuple

from spikeformers.ops.arguments import is_finite


class Range(NamedTuple):
    """An interval as it is written, `[0, 1)`, the fields that keep to it, and the reason that the error gives."""

    interval: str
    fields: str
    why: str = ""

    def holds(self, value: float) -> bool:
        low, high = self._ends()
        above = low <= value if self.interval[0] == "[" else low < value
        return above and (value <= high if self.interval[-1] == "]" else value < high)

    def breach(self) -> str:
        """What is wrong with a value outside, in words."""
        low, high = self.interval[1:-1].split(", ")
        said = (
            f"not in {self.interval}"
            if high != "inf"
            else f"{'below' if self.interval[0] == '[' else 'not above'} {low}"
        )
        return f"{said}: {self.why}" if self.why else said

    def _ends(self) -> list[float]:
        return [float(2**32) if end == "2**32" else float(end) for end in self.interval[1:-1].split(", ")]


# In a list or a mapping, every number must be in the range.
RANGES = (
    Range("[1, inf)", "epochs batch_size accumulate", "nothing would be trained"),
    Range("[1, inf)", "augment.repeats augment.clip_ops_drawn", "1 is the least"),
    Range("[1, inf)", "optimizer.lr_batch", "null takes lr as it is"),
    Range("[1, inf)", "data.sensor", "a sensor has pixels"),
    Range("[1, inf)", "data.window_events", "a sample has events"),
    Range("[0, 128]", "data.workers", "each is a process"),
    Range("(0, inf)", "data.window", "a sample takes time"),
    Range("[0, inf)", "profile_every save_minutes keep schedule.warmup_epochs schedule.cooldown_epochs"),
    Range("[0, inf)", "schedule.warmup_updates"),
    Range("[0, inf)", "augment.crop_padding", "0 moves nothing"),
    Range("[1, inf)", "schedule.milestones schedule.decay_epochs", "the rate falls after an epoch"),
    Range("[0, 255]", "data.void", "masks have 8 bits"),
    Range("[0, 1)", "augment.color_jitter", "0 changes nothing"),
    Range("(0, inf)", "augment.scale_jitter optimizer.head_factor", "1 changes nothing"),
    Range("[0, inf)", "augment.mix_off_epoch schedule.warmup_lr schedule.min_lr optimizer.weight_decay"),
    Range("[0, inf)", "augment.mixup augment.cutmix augment.clip_ops", "0 changes nothing"),
    Range("[0, inf)", "loss.firing_weight", "0 leaves rates alone"),
    Range("[0, inf)", "loss.class_balance", "0 weighs all pixels alike"),
    Range("(0, inf)", "optimizer.lr schedule.decay_rate augment.crop_ratio data.std"),
    Range("(0, inf)", "clip_grad_norm", "null clips nothing"),
    Range("(0, inf)", "distill.temperature", "1 changes nothing"),
    Range("(0, 1]", "optimizer.layer_decay", "1 changes nothing"),
    Range("(0, 1]", "augment.crop_scale data.crop_pct", "it is a share of the image, and 1 is all of it"),
    Range(
        "[0, 1]",
        "augment.hflip augment.vflip augment.erase augment.mix_prob augment.mix_switch_prob",
        "it is a probability",
    ),
    Range("[0, 1]", "distill.weight loss.tet_weight loss.firing_rate", "it is a share"),
    Range("[0, 1)", "label_smoothing"),
    Range("[0, 1)", "ema_decay", "it is the share of the old average kept"),
    Range("[0, 1)", "data.validation", "0.1 cuts a tenth from training"),
    Range("[0, 1)", "data.test", "0.1 cuts a tenth"),
    Range("[0, 2**32)", "seed data.split_seed"),
)
_RANGE_OF = {field: limits for limits in RANGES for field in limits.fields.split()}
_ASCENDING = ("augment.crop_scale", "augment.crop_ratio", "augment.scale_jitter", "schedule.milestones")


def check_settings(settings: Any) -> None:
    """Raises ValueError, in one line with the field's name, for a value that the field cannot have."""
    for name, value, hint in _fields(settings):
        check_type(name, value, hint)
        check_storable(name, value)
        check_finite(name, value)
        for number in _numbers(value):
            if (limits := _RANGE_OF.get(name)) and not limits.holds(number):
                raise ValueError(f"{name} {value} is {limits.breach()}")
        if name in _ASCENDING and [*value] != sorted(value):
            raise ValueError(f"{name} {value} ends before it begins: write the smaller number first")


def check_type(name: str, value: Any, hint: Any) -> None:
    """Raises ValueError, with the name, for a value that is not of the annotated type."""
    if not _fits(value, hint):
        raise ValueError(f"{name} must be {_spelt(hint)}, not {'null' if value is None else repr(value)}")


def _fields(settings: Any, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Dotted names, values and types of all fields, those inside groups too."""
    for name, hint in typing.get_type_hints(type(settings)).items():
        value = getattr(settings, name)
        if dataclasses.is_dataclass(hint) and isinstance(value, typing.cast(type, hint)):
            yield from _fields(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value, hint


def _fits(value: Any, hint: Any) -> bool:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return True
    if origin in (types.UnionType, typing.Union):
        return any(_fits(value, option) for option in inner)
    if origin is typing.Literal:
        return value in inner
    if origin is dict:
        return isinstance(value, dict) and all(_fits(one, inner[1]) for one in value.values())
    if origin is tuple:
        same_length = isinstance(value, tuple | list) and len(value) == len(inner)
        return same_length and all(map(_fits, value, inner))
    if origin is list:
        return isinstance(value, tuple | list) and all(_fits(one, inner[0]) for one in value)
    if isinstance(value, bool) or hint is bool:
        return hint is bool and isinstance(value, bool)
    return isinstance(value, int | float if hint is float else hint)


def check_finite(name: str, value: Any) -> None:
    """Raises ValueError, with the name, for a number in a value that is not finite or that no float can hold."""
    for number in _numbers(value):
        if not is_finite(number):
            said = number if isinstance(number, float) else f"a number of {number.bit_length()} bits"
            raise ValueError(f"{name} must hold finite numbers, not {said}")


def check_storable(name: str, value: Any) -> None:
    """Raises ValueError, with the name, for a date, bytes or a set in a value: YAML has them, JSON does not."""
    if isinstance(value, dict | list | tuple):
        for one in [*value, *value.values()] if isinstance(value, dict) else value:
            check_storable(name, one)
    elif isinstance(value, datetime.date | bytes | set):
        raise ValueError(f"{name} has {value!r} in it, which a settings file cannot store: write a number or a string")


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict | list | tuple):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _numbers(one)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


def _spelt(hint: Any) -> str:
    if typing.get_origin(hint) is typing.Literal:
        return f"one of {', '.join(map(repr, typing.get_args(hint)))}"
    if dataclasses.is_dataclass(hint):
        return "a group of settings"
    if typing.get_origin(hint) is dict:
        return "a mapping"
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        return " or ".join(map(_spelt, typing.get_args(hint)))
    if hint in (types.NoneType, bool):
        return "null" if hint is types.NoneType else "true or false"
    return str(hint).replace("typing.", "") if typing.get_origin(hint) else getattr(hint, "__name__", str(hint))
