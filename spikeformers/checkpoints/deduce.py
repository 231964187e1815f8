"""Infer a model's arguments from a file's keys and shapes, for any family.

Each argument is doubled and the model rebuilt without storage; wherever an axis doubled too, the file's size of that
axis gives the value. An argument that changes no key or shape cannot be inferred.
"""

import functools
import inspect
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from itertools import combinations, pairwise
from typing import Any

from torch import Tensor

from spikeformers.checkpoints.keys import translate
from spikeformers.checkpoints.layout import Difference, compare, layout, same_layout
from spikeformers.models.building import resolve
from spikeformers.models.parts import part_names
from spikeformers.models.registry import Family

Config = dict[str, Any]
_DEPTHS = ("depth", "depths")
_SPLITS = 200  # at most this many splits of the blocks among stages are tried


def size_configs(family: Family) -> dict[str, Config]:
    """The config of every size of a family, in the builder's argument order: widths before their multipliers."""
    order = ("name", *inspect.signature(family.builder).parameters)
    configs = {name: resolve(name, {})[2] for name in family.sizes}
    return {name: {key: config[key] for key in order} for name, config in configs.items()}


def nearest_form(weights: Mapping[str, Tensor], family: Family) -> tuple[float, Config]:
    """The size with the kinds of keys most like the file's, whatever its numbers, and the share that agree."""
    forms = {json.dumps(_form(config)): config for config in reversed(size_configs(family).values())}
    few = _few_of_each_kind(weights)
    likeness = [(*_likeness(_shallow(config), few, family), config) for config in forms.values()]
    kinds, _, config = max(likeness, key=lambda triple: triple[:2])
    return kinds, config


def deduce(config: Config, weights: Mapping[str, Tensor], family: Family) -> Config:
    """The config with the numbers that the file's keys and shapes determine.

    If they do not determine the number of heads, it is 1, which divides any width.
    """
    alike = [size for size in size_configs(family).values() if _form(size) == _form(config)]
    best = min(alike, key=lambda size: difference(size, weights, family).faults)
    one_head = {**best, "num_heads": _each(best["num_heads"], lambda _: 1)} if "num_heads" in best else best
    if not difference(best, weights, family).faults:
        return one_head if same_layout(layout(one_head), layout(best)) else best
    config = _with_depths(one_head, weights, family)
    for argument, value in config.items():
        if is_number(value) and argument not in _DEPTHS:
            config = {**config, argument: _read(argument, config, weights, family)}
    return _with_neuron(config, weights, family)


def difference(config: Config, weights: Mapping[str, Tensor], family: Family) -> Difference:
    """How a file's weights, under their own keys, fit a model of the family."""
    wanted = layout(config) or {}
    return compare(wanted, translate(weights, family, config, wanted))


def can_be_ambiguous(argument: str, values: Iterable[Any], config: Config) -> bool:
    """Whether another value leaves the layout as it is: twice this one, or, if that is invalid, any of `values`."""
    doubled = _doubled(config[argument])
    if doubled != config[argument] and layout({**_shallow(config), argument: doubled}):
        values = [doubled]
    return any(not changes_layout(argument, value, config) for value in values if value != config[argument])


def changes_layout(argument: str, value: Any, config: Config) -> bool:
    """Whether this value of an argument, in place of the config's, changes keys or shapes."""
    if value == config[argument] or argument in _DEPTHS:
        return value != config[argument]
    shallow = _shallow(config)
    return not same_layout(layout({**shallow, argument: value}), layout(shallow))


def count_differing(one: Any, other: Any) -> int:
    """In how many places two values of an argument differ."""
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return sum(a != b for a, b in zip(one, other, strict=True))
    return int(one != other)


def _likeness(config: Config, weights: Mapping[str, Tensor], family: Family) -> tuple[float, float]:
    """The share of kinds of keys in common, and, of the keys in common, the share with equal kernel sizes."""
    wanted = layout(config) or {}
    found = translate(weights, family, config, wanted)
    ours, theirs = ({_kind(key) for key in keys} for keys in (wanted, found))
    kernels = [wanted[key].shape[2:] == found[key].shape[2:] for key in wanted.keys() & found.keys()]
    return len(ours & theirs) / len(ours | theirs), sum(kernels) / max(1, len(kernels))


@functools.lru_cache(maxsize=1 << 16)
def _kind(key: str) -> str:
    return re.sub(r"^(\w+)\.\d+\.", r"\1.#.", key)  # blocks.3.attn -> blocks.#.attn


def _few_of_each_kind(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Two keys of each kind: a stage's first block may differ from the others."""
    counts: Counter[str] = Counter()
    few = {}
    for key, value in weights.items():
        counts[_kind(key)] += 1
        if counts[_kind(key)] <= 2:
            few[key] = value
    return few


def _form(config: Config) -> Config:
    """A config without its name, with numbers reduced to zero ("none") or not."""
    return {k: _each(value, bool) if is_number(value) else value for k, value in config.items() if k != "name"}


def _with_depths(config: Config, weights: Mapping[str, Tensor], family: Family) -> Config:
    """Adds or removes a block, stage by stage, while more keys fit; if some still do not, tries every split.

    Our keys number the blocks of all stages in one sequence, so any split of that many blocks is possible.
    """
    argument = next((name for name in _DEPTHS if name in config), None)
    if argument is None:
        return config

    def mismatches(depths: Any) -> float:
        changed = {**config, argument: depths}
        if (wanted := layout(changed)) is None:
            return float("inf")
        return len(wanted.keys() ^ translate(weights, family, changed, wanted).keys())

    best = config[argument]
    for place in range(len(_leaves(best))):
        for step in (1, -1):
            while _leaves(best)[place] + step > 0:
                further = _replaced(best, place, _leaves(best)[place] + step)
                if mismatches(further) >= mismatches(best):
                    break
                best = further
    if isinstance(best, list) and mismatches(best) and any(key.startswith("stem.") for key in weights):
        between = _count_blocks(layout({**config, argument: best}) or {}) - sum(best)
        total = _count_blocks(weights) - between
        ends = ((0, *inner, total) for inner in combinations(range(1, total), len(best) - 1))
        splits = [[b - a for a, b in pairwise(split)] for split in ends]
        splits.sort(key=lambda split: count_differing(split, best))
        best = min([best, *splits[:_SPLITS]], key=mismatches)
    return {**config, argument: best}


def _count_blocks(keys: Iterable[str]) -> int:
    return len({key.split(".")[1] for key in keys if key.startswith("blocks.")})


def _read(argument: str, config: Config, weights: Mapping[str, Tensor], family: Family) -> Any:
    value, wanted = config[argument], layout(config)
    if wanted is None or not changes_layout(argument, _doubled(value), config):
        return value
    found = translate(weights, family, config, wanted)
    for place, leaf in enumerate(_leaves(value)):
        doubled = layout({**config, argument: _replaced(config[argument], place, 2 * leaf)}) or {}
        value = _replaced(value, place, _reading(leaf, wanted, doubled, found))
    return value if layout({**config, argument: value}) else config[argument]


def _reading(
    leaf: Any, wanted: Mapping[str, Tensor], doubled: Mapping[str, Tensor], found: Mapping[str, Tensor]
) -> Any:
    """The file's size on an axis where the model has `leaf` itself, else, scaled, on an axis with a multiple of it."""
    readings = []
    for key in wanted.keys() & doubled.keys() & found.keys():
        shapes = (wanted[key].shape, doubled[key].shape, found[key].shape)
        if len({len(shape) for shape in shapes}) > 1:
            continue
        for had, has, is_now in zip(*shapes, strict=True):
            if has == 2 * had:
                readings.append((had != leaf, key, leaf * is_now / had))
    value = min(readings)[-1] if readings else leaf
    return int(value) if int(value) == value else value


def _with_neuron(config: Config, weights: Mapping[str, Tensor], family: Family) -> Config:
    """The config with the neuron whose parameters are in the file, if the family's default has other ones."""
    faults = difference(config, weights, family)
    if "neuron" not in config or not any("neuron" in key for key in (*faults.unknown, *faults.missing)):
        return config
    tried = [config, *({**config, "neuron": name} for name in part_names("neuron"))]
    return min((c for c in tried if layout(c)), key=lambda c: difference(c, weights, family).faults)


def is_number(value: Any) -> bool:
    leaves = _leaves(value)
    return bool(leaves) and all(isinstance(leaf, int | float) and not isinstance(leaf, bool) for leaf in leaves)


def _leaves(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _each(value: Any, change: Callable[[Any], Any]) -> Any:
    return [change(leaf) for leaf in value] if isinstance(value, list) else change(value)


def _shallow(config: Config) -> Config:
    """The config with at most two blocks per stage: more add nothing about the other arguments."""
    return {key: _each(value, lambda leaf: min(leaf, 2)) if key in _DEPTHS else value for key, value in config.items()}


def _doubled(value: Any) -> Any:
    return _each(value, lambda leaf: 2 * leaf) if is_number(value) else value


def _replaced(value: Any, place: int, leaf: Any) -> Any:
    return [*value[:place], leaf, *value[place + 1 :]] if isinstance(value, list) else leaf
