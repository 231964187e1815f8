"""Which model a checkpoint holds, told by its keys and shapes, by its name and by what its training left inside."""

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
    count_differing,
    deduce,
    difference,
    is_number,
    is_told,
    is_untold,
    nearest_form,
    size_configs,
)
from spikeformers.checkpoints.keys import translate
from spikeformers.checkpoints.layout import Difference, compare, layout
from spikeformers.checkpoints.read import Checkpoint
from spikeformers.models.registry import Family, build, find_family, list_families, resolve

_SHOWN = 5
_NEAR = 0.3  # of the kinds of keys, for a file to be like a family at all
_TRAINING_ONLY = ("drop_path", "projection_std", "layer_scale")
_THEIR_WORDS = {"time_steps": ("time_steps", "time_step", "T"), "num_heads": ("num_heads",)}


@dataclass(frozen=True)
class Candidate:
    """A model that a file may hold, `create_model(name, **overrides)`, and what speaks for it.

    `fit` is how its keys and shapes agree with the file's. `untold` are the arguments that those do not tell, at their
    values in that size, or None where the size's own does not agree with the file's numbers and one must be given.
    `refusal` says why the file cannot be loaded, if so.
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
        """The Python that builds it, with `...` for what must be given."""
        given = {**self.overrides, **{key: ... for key, value in self.untold.items() if value is None}}
        return f"create_model({', '.join([json.dumps(self.name), *(f'{k}={spell(v)}' for k, v in given.items())])})"

    @property
    def summary(self) -> str:
        """Family, ends and fit in a line."""
        ends = [
            f"{'an unknown number of' if self.num_classes is None else self.num_classes} classes",
            f"{self.in_channels} channels",
            "with a second head, for a teacher" if self.heads > 1 else "no second head",
        ]
        fit = "every key and shape fits" if not self.fit.faults else f"{self.fit.fitting} keys fit, {self.fit}"
        return f"{', '.join([self.family, *ends])}: {fit}"

    def describe(self) -> dict[str, Any]:
        """All of it for JSON."""
        return {**asdict(self), "call": self.call}


def identify(checkpoint: Checkpoint) -> list[Candidate]:
    """The models a checkpoint may hold, likeliest first: all that fit in every key and shape, else the nearest ones.

    Raises ValueError for a file that is like no model here.
    """
    weights = {key: torch.empty(value.shape, device="meta") for key, value in checkpoint.weights.items()}
    if checkpoint.config:
        return [_by_its_own_word(checkpoint.config, weights)]
    families = [family for name in list_families() if (family := find_family(name)).sizes]
    near = sorted(((*nearest_form(weights, family), family) for family in families), key=lambda n: n[0], reverse=True)
    best = near[0][0]
    if best < _NEAR:
        keys = ", ".join(list(weights)[:3])
        raise ValueError(f"{checkpoint.path} is like no model of spikeformers: it has {len(weights)} keys, {keys}, ...")
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
        different.setdefault(_built(candidate), candidate)
    return list(different.values())[:_SHOWN]


def spell(value: Any) -> str:
    """A value of a config as Python: lists as the tuples they stand for."""
    if value is ...:
        return "..."
    if isinstance(value, str):
        return json.dumps(value)
    return repr(tuple(value) if isinstance(value, list) else value)


def _by_its_own_word(config: Config, weights: Mapping[str, Tensor]) -> Candidate:
    name, arguments = config["name"], {key: value for key, value in config.items() if key != "name"}
    folded = {"folded": True} if config.get("folded") else {}
    numbers = (config.get("num_classes"), config.get("in_channels"), _count_heads(weights))
    try:
        with torch.device("meta"):
            wanted = build(name, arguments, allow_foreign=False).state_dict()
    except ValueError as error:  # parts of somebody's own, which are not run to look at a file
        unchecked = Difference(0, [], [], [])
        return Candidate(name, "", {}, *numbers, unchecked, reasons=[f"it says so itself, unchecked, for {error}"])
    family = find_family(name)
    parameters = inspect.signature(family.builder).parameters
    size = family.sizes.get(name, {})
    needed = {a: arguments[a] for a, p in parameters.items() if p.default is p.empty and a not in size}
    plain = resolve(name, needed)[2]
    overrides = {a: arguments[a] for a in parameters if a in arguments and (a in needed or arguments[a] != plain[a])}
    fit = compare(wanted, weights)
    return Candidate(name, family.builder.__name__, overrides | folded, *numbers, fit, reasons=["it says so itself"])


def _ranked_sizes(
    fitted: Config, family: Family, weights: Mapping[str, Tensor], checkpoint: Checkpoint
) -> list[tuple[tuple[int, ...], Candidate]]:
    """The sizes that come nearest to the config that fits a file, with what ranks them, lowest first."""
    sizes, wanted = size_configs(family), layout(fitted) or {}
    heads = _count_heads(translate(weights, family, fitted, wanted))
    words = f"{checkpoint.path.name} {checkpoint.training.get('model', '')}".lower()
    text = "\n".join([words, *weights])
    clues = {seen[0]: names for pattern, names in family.clues.items() if (seen := re.search(pattern, text))}
    refusals = [what for pattern, what in family.unloadable.items() if any(re.match(pattern, key) for key in weights)]

    values = {argument: [size[argument] for size in sizes.values()] for argument in fitted}
    hidden = [a for a in fitted if a not in ("name", *_TRAINING_ONLY) and is_untold(a, values[a], fitted)]
    said = {a: value for a in hidden if (value := _said(checkpoint.training, a)) is not None}
    told_numbers = {a for a in fitted if is_number(fitted[a])} - {*hidden, *_TRAINING_ONLY}
    passed_over = {"name"} | {"num_heads"} & set(hidden)  # heads may also fail to agree with the file's width

    def told(size: Config) -> list[str]:
        differing = [a for a in fitted if size[a] != fitted[a] and a not in passed_over]
        return [a for a in differing if a in told_numbers or is_told(a, size[a], fitted)]

    far = {name: sum(count_differing(fitted[a], size[a]) for a in told(size)) for name, size in sizes.items()}
    ranked = []
    for place, name in enumerate(name for name in sizes if far[name] == min(far.values())):
        size = sizes[name]
        overrides = {a: fitted[a] for a in told(size)} | {a: v for a, v in said.items() if v != size[a]}
        agrees = layout({**size, **overrides}) is not None
        reasons = [f"its training had {a}={spell(v)}" for a, v in said.items()]
        spoken_for = [seen for seen, pattern in clues.items() if re.search(pattern, name)]
        reasons += [f"its keys or its name have {seen}" for seen in spoken_for]
        candidate = Candidate(
            name,
            family.builder.__name__,
            overrides,
            fitted.get("num_classes") if heads else None,
            fitted.get("in_channels"),
            heads,
            difference(fitted, weights, family),
            untold={a: size[a] if agrees or a != "num_heads" else None for a in hidden if a not in said},
            reasons=reasons,
            refusal="; ".join(refusals),
        )
        ranked.append(((-len(spoken_for), not agrees, -_words_shared(name, words), place), candidate))
    return ranked


def _built(candidate: Candidate) -> str:
    """What two sizes share that are one model, but for its heads, once they have the file's numbers."""
    config = resolve(candidate.name, candidate.overrides)[2]
    return json.dumps({**config, "name": candidate.family, "num_heads": None}, sort_keys=True)


def _said(training: Mapping[str, Any], argument: str) -> int | None:
    """What the arguments of the training say of one of ours."""
    values = (training.get(word) for word in _THEIR_WORDS.get(argument, ()))
    return next((value for value in values if type(value) is int and value > 0), None)


def _words_shared(name: str, words: str) -> int:
    """How many words of a size's name are among a file's, less those that are not: `V3_19.0M_1x4` has v3 and 19m."""
    theirs = set(re.split(r"[^a-z0-9]+", re.sub(r"\.\d+(?=m)", "", words)))
    return sum(1 if word in theirs else -1 for word in name.split("_"))


def _count_heads(weights: Mapping[str, Tensor]) -> int:
    return sum(key.startswith("head.") and value.ndim == 2 for key, value in weights.items())
