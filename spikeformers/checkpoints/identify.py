"""Identify the model in a checkpoint by its keys and shapes, its file name and its saved training arguments."""

import inspect
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from spikeformers.checkpoints.deduce import (
    Config,
    can_be_ambiguous,
    changes_layout,
    count_differing,
    deduce,
    difference,
    is_number,
    nearest_form,
    size_configs,
)
from spikeformers.checkpoints.keys import translate
from spikeformers.checkpoints.layout import Difference, compare, layout
from spikeformers.checkpoints.read import Checkpoint
from spikeformers.models.building import build, resolve
from spikeformers.models.registry import Family, find_family, list_families

_MOST = 5  # candidates
_NEAR = 0.3  # least share of kinds of keys in common with a family
_TRAINING_ONLY = ("drop_path", "projection_std", "layer_scale")
_RELEASED_NAMES = {"time_steps": ("time_steps", "time_step", "T"), "num_heads": ("num_heads",)}


@dataclass(frozen=True)
class Candidate:
    """A model that a file may hold, `create_model(name, **overrides)`, and the evidence for it.

    Attributes:
        name: The size.
        family: Its family.
        overrides: Arguments that differ from the size's.
        num_classes: Classes; None if the file has no head.
        in_channels: Channels of the input.
        heads: Number of classifiers in the file; 2 with a distillation head.
        fit: How the model's keys and shapes match the file's.
        untold: Arguments that keys and shapes do not determine, with the size's values; None where the size's value
            contradicts the file and one must be given.
        reasons: Evidence besides keys and shapes.
        refusal: Why the file cannot be loaded, or "".
    """

    name: str
    family: str
    overrides: Config
    num_classes: int | None
    in_channels: int | None
    heads: int
    fit: Difference
    untold: Config = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    refusal: str = ""

    @property
    def call(self) -> str:
        """The Python call that builds it, with `...` for arguments that must be given."""
        given = {**self.overrides, **{key: ... for key, value in self.untold.items() if value is None}}
        return f"create_model({', '.join([json.dumps(self.name), *(f'{k}={spell(v)}' for k, v in given.items())])})"

    @property
    def summary(self) -> str:
        """Family, classes, channels and fit, in one line."""
        ends = [
            f"{'an unknown number of' if self.num_classes is None else self.num_classes} classes",
            f"{self.in_channels} channels",
            "with a second head, for a teacher" if self.heads > 1 else "no second head",
        ]
        fit = "every key and shape fits" if not self.fit.faults else f"{self.fit.fitting} keys fit, {self.fit}"
        return f"{', '.join([self.family, *ends])}: {fit}"

    def describe(self) -> dict[str, Any]:
        """All fields and the call, for JSON."""
        return {**asdict(self), "call": self.call}


def identify(checkpoint: Checkpoint) -> list[Candidate]:
    """Finds the models that a checkpoint may hold.

    Args:
        checkpoint: A checkpoint from `read_checkpoint`.

    Returns:
        Up to five candidates, likeliest first: those that match every key and shape, or, if none does, the nearest.

    Raises:
        ValueError: The file resembles no model of spikeformers.
    """
    weights = {key: torch.empty(value.shape, device="meta") for key, value in checkpoint.weights.items()}
    if checkpoint.config:
        return [_from_config(checkpoint.config, weights)]
    families = [family for name in list_families() if (family := find_family(name)).sizes]
    near = sorted(((*nearest_form(weights, family), family) for family in families), key=lambda n: n[0], reverse=True)
    best = near[0][0]
    if best < _NEAR:
        keys = ", ".join(list(weights)[:3])
        raise ValueError(f"{checkpoint.path} resembles no model of spikeformers: {len(weights)} keys, {keys}, ...")
    fitted: list[tuple[int, Config, Family]] = []
    for share, config, family in near:
        if share == best or (share > 0.8 * best and all(faults for faults, _, _ in fitted)):
            config = deduce(config, weights, family)
            fitted.append((difference(config, weights, family).faults, config, family))
    fewest = min(faults for faults, _, _ in fitted)
    ranked = [
        pair
        for faults, config, family in fitted
        if faults == fewest
        for pair in _ranked_sizes(config, family, weights, checkpoint)
    ]
    different: dict[str, Candidate] = {}
    for _, candidate in sorted(ranked, key=lambda pair: pair[0]):
        different.setdefault(_identity(candidate), candidate)
    return list(different.values())[:_MOST]


def spell(value: Any) -> str:
    """A config's value as Python source, with lists as tuples."""
    if value is ...:
        return "..."
    if isinstance(value, str):
        return json.dumps(value)
    return repr(tuple(value) if isinstance(value, list) else value)


def _from_config(config: Config, weights: Mapping[str, Tensor]) -> Candidate:
    name, arguments = config["name"], {key: value for key, value in config.items() if key != "name"}
    folded = {"folded": True} if config.get("folded") else {}
    numbers = (config.get("num_classes"), config.get("in_channels"), _count_heads(weights))
    try:
        with torch.device("meta"):
            wanted = build(name, arguments, allow_foreign=False).state_dict()
    except ValueError as error:  # user code, which is never run to identify a file
        unchecked = Difference(0, [], [], [])
        return Candidate(name, "", {}, *numbers, unchecked, reasons=[f"its config says so, unchecked: {error}"])
    family = find_family(name)
    parameters = inspect.signature(family.builder).parameters
    size = family.sizes.get(name, {})
    needed = {a: arguments[a] for a, p in parameters.items() if p.default is p.empty and a not in size}
    plain = resolve(name, needed)[2]
    overrides = {a: arguments[a] for a in parameters if a in arguments and (a in needed or arguments[a] != plain[a])}
    fit = compare(wanted, weights)
    return Candidate(name, family.builder.__name__, overrides | folded, *numbers, fit, reasons=["its config says so"])


def _ranked_sizes(
    fitted: Config, family: Family, weights: Mapping[str, Tensor], checkpoint: Checkpoint
) -> list[tuple[tuple[int, ...], Candidate]]:
    """The sizes nearest to the config that fits a file, each with its rank; the lowest is the likeliest."""
    sizes, wanted = size_configs(family), layout(fitted) or {}
    heads = _count_heads(translate(weights, family, fitted, wanted))
    words = f"{checkpoint.path.name} {checkpoint.training.get('model', '')}".lower()
    text = "\n".join([words, *weights])
    clues = {found[0]: names for pattern, names in family.clues.items() if (found := re.search(pattern, text))}
    refusals = [what for pattern, what in family.unloadable.items() if any(re.match(pattern, key) for key in weights)]

    values = {argument: [size[argument] for size in sizes.values()] for argument in fitted}
    ambiguous = [a for a in fitted if a not in ("name", *_TRAINING_ONLY) and can_be_ambiguous(a, values[a], fitted)]
    trained = {a: value for a in ambiguous if (value := _trained_with(checkpoint.training, a)) is not None}
    determined = {a for a in fitted if is_number(fitted[a])} - {*ambiguous, *_TRAINING_ONLY}
    ignored = {"name"} | {"num_heads"} & set(ambiguous)  # a size's heads may not divide the file's width

    def contradicted(size: Config) -> list[str]:
        differing = [a for a in fitted if size[a] != fitted[a] and a not in ignored]
        return [a for a in differing if a in determined or changes_layout(a, size[a], fitted)]

    far = {name: sum(count_differing(fitted[a], size[a]) for a in contradicted(size)) for name, size in sizes.items()}
    ranked = []
    for place, name in enumerate(name for name in sizes if far[name] == min(far.values())):
        size = sizes[name]
        overrides = {a: fitted[a] for a in contradicted(size)} | {a: v for a, v in trained.items() if v != size[a]}
        agrees = layout({**size, **overrides}) is not None
        reasons = [f"its training had {a}={spell(v)}" for a, v in trained.items()]
        matched = [clue for clue, pattern in clues.items() if re.search(pattern, name)]
        reasons += [f"its keys or its name have {clue}" for clue in matched]
        candidate = Candidate(
            name,
            family.builder.__name__,
            overrides,
            fitted.get("num_classes") if heads else None,
            fitted.get("in_channels"),
            heads,
            difference(fitted, weights, family),
            untold={a: size[a] if agrees or a != "num_heads" else None for a in ambiguous if a not in trained},
            reasons=reasons,
            refusal="; ".join(refusals),
        )
        ranked.append(((-len(matched), not agrees, -_words_shared(name, words), place), candidate))
    return ranked


def _identity(candidate: Candidate) -> str:
    """A key that two candidates share if they are the same model, except for the number of heads."""
    config = resolve(candidate.name, candidate.overrides)[2]
    return json.dumps({**config, "name": candidate.family, "num_heads": None}, sort_keys=True)


def _trained_with(training: Mapping[str, Any], argument: str) -> int | None:
    """The value of one of our arguments among the training arguments of released code."""
    values = (training.get(name) for name in _RELEASED_NAMES.get(argument, ()))
    return next((value for value in values if type(value) is int and value > 0), None)


def _words_shared(name: str, words: str) -> int:
    """Words of a size's name in a file's, minus those that are not in it: `V3_19.0M_1x4` has v3 and 19m."""
    theirs = set(re.split(r"[^a-z0-9]+", re.sub(r"\.\d+(?=m)", "", words)))
    return sum(1 if word in theirs else -1 for word in name.split("_"))


def _count_heads(weights: Mapping[str, Tensor]) -> int:
    return sum(key.startswith("head.") and value.ndim == 2 for key, value in weights.items())
