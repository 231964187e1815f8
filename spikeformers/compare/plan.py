"""The variants of a comparison, combinations of parts, and their runs."""

import dataclasses
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from spikeformers.models.measure import MEASURES, Measure
from spikeformers.models.parts import part_name, slot_of
from spikeformers.training.limits import check_storable
from spikeformers.training.provenance import changed_files
from spikeformers.training.recipe import Recipe, named_part
from spikeformers.training.resume import check_same_settings
from spikeformers.training.yaml_text import read_yaml

RESULTS = "results.json"  # `fit` writes it when a run is finished


@dataclass(frozen=True)
class Variant:
    """One combination: its name, also used for folders, the model's arguments, and the value of each swap as a word."""

    name: str
    model: dict[str, Any]
    chosen: Mapping[str, str]


@dataclass(frozen=True)
class Run:
    """One variant at one seed: an ordinary run, with a folder of its own. `measure` is what its model is judged by."""

    variant: str
    recipe: Recipe
    chosen: Mapping[str, str] = field(default_factory=dict)
    measure: Measure = MEASURES["classification"]

    @property
    def folder(self) -> Path:
        return Path(self.recipe.out) / str(self.recipe.run)

    @property
    def finished(self) -> bool:
        return (self.folder / RESULTS).is_file()

    def check_resumable(self) -> None:
        """Raises ValueError if the folder has a run with other settings, or with parts that have changed since."""
        file = self.folder / "settings.yaml"
        if not file.is_file():
            return
        began = yaml.safe_load(file.read_text(encoding="utf-8"))
        limit = "limit_train_batches"  # set by a budget
        then, now = (trainer.get(limit) for trainer in (began["trainer"], self.recipe.trainer))
        if changed := changed_files(self.folder, self.recipe):
            raise ValueError(
                f"{changed[0]} has changed since {self.folder} began, so the comparison cannot continue: restore it, "
                "or start another with --name NAME"
            )
        if then != now:
            raise ValueError(
                f"trainer.{limit} is {now}, but {self.folder} began with {then}: give the same budget, or start "
                "another comparison with --name NAME"
            )
        check_same_settings(self.recipe, began, self.folder)


def read_swap(words: str) -> tuple[str, list[Any]]:
    """Parses `attention=SSA,my.py:Mine,{part: SSA, scale: 0.5}` to the argument's name and its values.

    Arguments that take the same value stand in one name, as `neuron+neck_neuron`. Raises ValueError for another form.
    """
    argument, equals, values = words.partition("=")
    if not equals or not all(name.isidentifier() for name in argument.split("+")) or not values:
        raise ValueError(f"swap {words!r} is not written as slot=A,B: an argument of the model, and values for it")
    read = [read_yaml(value, f"swap {argument}") for value in _split(values)]
    for value, spelt in zip(read, _split(values), strict=True):
        if not spelt.strip() or not isinstance(value, str | int | float | dict | list | None):
            raise ValueError(f"swap {words!r} has the value {spelt!r}: give a part, a number or a word")
        check_storable(f"swap {argument}", value)
    return argument, read


def _split(values: str) -> Iterator[str]:
    """The pieces between commas outside brackets."""
    depth, piece = 0, ""
    for letter in values:
        depth += (letter in "[{(") - (letter in "]})")
        if letter == "," and depth == 0:
            yield piece
            piece = ""
        else:
            piece += letter
    yield piece


def combinations(model: Mapping[str, Any], swaps: Mapping[str, Sequence[Any]]) -> list[Variant]:
    """Every combination of the swapped values, beginning with the first of each.

    Raises ValueError if there is nothing to compare, or a value or an argument occurs twice.
    """
    names = [name for argument in swaps for name in argument.split("+")]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"two swaps name {repeated[0]}: give all its values at once, as in --swap neuron=LIF,PLIF")
    for argument, values in swaps.items():
        spelt = [json.dumps(named_part(argument, value), sort_keys=True) for value in values]
        if twice := [value for value in spelt if spelt.count(value) > 1]:
            raise ValueError(f"swap {argument} has {twice[0]} twice: name each value once")
    words = {argument: _words(argument, values) for argument, values in swaps.items()}
    variants: list[Variant] = []
    for values in itertools.product(*swaps.values()):
        pairs = list(zip(swaps, values, strict=True))
        swapped = {name: value for argument, value in pairs for name in argument.split("+")}
        chosen = {argument: words[argument][swaps[argument].index(value)] for argument, value in pairs}
        name = _unlike("-".join(chosen.values()), [variant.name for variant in variants])
        variants.append(Variant(name, {**model, **swapped}, chosen))
    if len(variants) < 2:
        raise ValueError("there is only one combination: give a swap at least two values, as in --swap neuron=LIF,PLIF")
    return variants


def _words(argument: str, values: Sequence[Any]) -> list[str]:
    words: list[str] = []
    for value in values:
        words.append(_unlike(_word(argument, value), words))
    return words


def _word(argument: str, value: Any) -> str:
    value = named_part(argument, value)
    if not slot_of(argument):
        word = f"{argument}={value}"
    elif isinstance(value, dict):
        inside = [
            _word(key, inner) if slot_of(key) else f"{key}={inner}" for key, inner in value.items() if key != "part"
        ]
        word = f"{part_name(value)}({','.join(inside)})"
    else:
        word = part_name(value)
    return re.sub(r"[^\w.,=()]+", "_", word)


def _unlike(name: str, taken: Sequence[str]) -> str:
    """`name`, with a number appended if it is taken: parts of two files may share a name."""
    names = itertools.chain([name], (f"{name}.{i}" for i in itertools.count(2)))
    return next(free for free in names if free not in taken)


def recipe_of(base: Recipe, model: Mapping[str, Any], folder: Path, run: str, seed: int) -> Recipe:
    """The recipe of one run, which reads the test set only at its end, and has no progress bar of its own."""
    return dataclasses.replace(
        base,
        model=dict(model),
        data=dataclasses.replace(base.data, test_each_epoch=False),
        trainer={"devices": 1, "enable_progress_bar": False, **base.trainer},
        seed=seed,
        out=str(folder),
        run=f"{run}-seed{seed}",
    )
