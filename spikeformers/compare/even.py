"""Evening out parameters: adjusting one number of each model until it has about as many as the first."""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from spikeformers.compare.plan import Variant
from spikeformers.models.building import rebuild

_FINEST = 1 / 16  # step of a ratio, so that an MLP's width stays a multiple of dim / 16
_APART = 0.05  # largest relative difference from the first


def count_parameters(model: Mapping[str, Any]) -> int:
    """Parameters of `rebuild(model)`, without allocating it."""
    with torch.device("meta"):
        return sum(p.numel() for p in rebuild(model).parameters())


def evened(variants: Sequence[Variant], argument: str, ends: Mapping[str, Any]) -> list[Variant]:
    """Variants with the number `argument`, such as `mlp_ratio`, adjusted so that all have about the first's parameters.

    `ends` are the classes and channels of the data. Raises ValueError if the argument is not a number, or counts still
    differ by more than 5 %.
    """
    if len({json.dumps(variant.model.get(argument)) for variant in variants}) > 1:
        raise ValueError(f"{argument} is swapped, so it cannot also even out parameters: choose another argument")
    wanted = count_parameters({**variants[0].model, **ends})
    return [variants[0], *(_moved(variant, argument, wanted, ends) for variant in variants[1:])]


def _moved(variant: Variant, argument: str, wanted: int, ends: Mapping[str, Any]) -> Variant:
    with torch.device("meta"):
        start = rebuild({**variant.model, **ends}).config.get(argument)
    if isinstance(start, bool) or not isinstance(start, int | float):
        raise ValueError(f"{argument} of {variant.name} is {start!r}: give --even a number, such as mlp_ratio")
    step = 1 if argument != "mlp_ratio" and isinstance(start, int) else _FINEST

    def count(multiple: int) -> int | None:
        try:
            return count_parameters({**variant.model, **ends, argument: multiple * step})
        except ValueError:  # a part does not take this width
            return None

    most = round(16 * start / step)
    if (now := count(round(start / step))) is not None and abs(now - wanted) <= _APART * wanted:
        return variant
    if count(1) == count(most):
        raise ValueError(
            f"{argument} does not change the parameters of {variant.name}: give --even another, such as mlp_ratio"
        )
    best = _nearest(count, wanted, most)
    found = count(best) if best else None
    if not best or not found or abs(found - wanted) > _APART * wanted:
        raise ValueError(
            f"{variant.name} cannot reach {wanted:,} parameters by {argument} (nearest: {found or 0:,}): give "
            "--even another argument"
        )
    return dataclasses.replace(variant, model={**variant.model, argument: best * step})


def _nearest(count: Callable[[int], int | None], wanted: int, most: int) -> int | None:
    """The multiple in 1..most with the count nearest to `wanted`. Counts rise; some multiples have none."""
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
