"""Evening out parameters: one number of each model is moved until it is as large as the first."""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from spikeformers.compare.plan import Variant
from spikeformers.models.registry import rebuild

_FINEST = 1 / 16  # steps of a ratio: an MLP's width then stays a multiple of dim / 16
_APART = 0.05  # how far, relative to the first, counts may still be


def count_parameters(model: Mapping[str, Any]) -> int:
    """Parameters of `rebuild(model)`, which is not really built."""
    with torch.device("meta"):
        return sum(p.numel() for p in rebuild(model).parameters())


def evened(variants: Sequence[Variant], argument: str, ends: Mapping[str, Any]) -> list[Variant]:
    """Variants with `argument`, a number such as `mlp_ratio`, chosen so that all have about the first's parameters.

    `ends` are the classes and channels of the data. Raises ValueError for an argument that is no number, and where
    counts stay more than 5 % apart.
    """
    if len({json.dumps(variant.model.get(argument)) for variant in variants}) > 1:
        raise ValueError(f"{argument} is compared, and cannot also even parameters out: choose another argument")
    wanted = count_parameters({**variants[0].model, **ends})
    return [variants[0], *(_moved(variant, argument, wanted, ends) for variant in variants[1:])]


def _moved(variant: Variant, argument: str, wanted: int, ends: Mapping[str, Any]) -> Variant:
    with torch.device("meta"):
        start = rebuild({**variant.model, **ends}).config.get(argument)
    if isinstance(start, bool) or not isinstance(start, int | float):
        raise ValueError(f"{argument} of {variant.name} is {start!r}, no number to even parameters out by")
    step = 1 if argument != "mlp_ratio" and isinstance(start, int) else _FINEST

    def count(multiple: int) -> int | None:
        try:
            return count_parameters({**variant.model, **ends, argument: multiple * step})
        except ValueError:  # a width that some part does not take
            return None

    most = round(16 * start / step)
    if (now := count(round(start / step))) is not None and abs(now - wanted) <= _APART * wanted:
        return variant
    if count(1) == count(most):
        raise ValueError(
            f"{argument} does not change how many parameters {variant.name} has: even out by another, as mlp_ratio"
        )
    best = _nearest(count, wanted, most)
    found = count(best) if best else None
    if not best or not found or abs(found - wanted) > _APART * wanted:
        raise ValueError(
            f"{variant.name} cannot be made as large as {wanted:,} parameters by {argument} (nearest: {found or 0:,}): "
            "even out by another argument"
        )
    return dataclasses.replace(variant, model={**variant.model, argument: best * step})


def _nearest(count: Callable[[int], int | None], wanted: int, most: int) -> int | None:
    """The multiple in 1..most whose count is nearest to `wanted`, where counts rise; some have none."""
    low, high, seen = 1, most, {}
    while low <= high:
        middle = (low + high) // 2
        there = next((i for i in range(middle, high + 1) if (value := count(i)) is not None), None)
        if there is None:
            high = middle - 1
            continue
        seen[there] = value = count(there) or 0
        if value == wanted:
            break
        low, high = (there + 1, high) if value < wanted else (low, middle - 1)
    return min(seen, key=lambda i: abs(seen[i] - wanted), default=None)
