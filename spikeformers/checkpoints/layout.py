"""Keys and shapes of models and files, and how they differ."""

import functools
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from spikeformers.models.building import rebuild


def layout(config: Mapping[str, Any]) -> dict[str, Tensor] | None:
    """The keys and shapes of a registered model, as tensors without storage; None for inconsistent numbers."""
    return _layout(json.dumps(config))


@functools.lru_cache(maxsize=256)
def _layout(config: str) -> dict[str, Tensor] | None:
    try:
        with torch.device("meta"):
            return rebuild(json.loads(config)).state_dict()
    except (ValueError, TypeError, RuntimeError):  # TypeError: a part with a required argument
        return None


def same_layout(one: Mapping[str, Tensor] | None, other: Mapping[str, Tensor] | None) -> bool:
    """Whether two models have the same keys and shapes, so that their files look alike."""
    if one is None or other is None or one.keys() != other.keys():
        return False
    return all(one[key].shape == other[key].shape for key in one)


@dataclass(frozen=True)
class Difference:
    """How a file's weights, under our keys, match a model: the number that do, and the others by fault."""

    fitting: int
    missing: list[str]
    unknown: list[str]
    other_shape: list[str]

    @property
    def faults(self) -> int:
        return len(self.missing) + len(self.unknown) + len(self.other_shape)

    @property
    def share(self) -> float:
        """The share of all keys, of either side, that fit."""
        return self.fitting / max(1, self.fitting + self.faults)

    def __str__(self) -> str:
        kinds = (("missing", self.missing), ("not the model's", self.unknown), ("of another shape", self.other_shape))
        return "; ".join(
            f"{len(keys)} {what} ({', '.join(keys[:10])}{f' and {len(keys) - 10} more' if len(keys) > 10 else ''})"
            for what, keys in kinds
            if keys
        )


def compare(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor], kept: Collection[str] = ()) -> Difference:
    """Compares `found` with `wanted`. Missing `kept` keys and batch counts, which some files omit, are no faults."""
    missing = [key for key in wanted if key not in found and key not in kept and not _is_count(key)]
    both = [key for key in wanted if key in found]
    other = [
        f"{key} {list(found[key].shape)} for {list(wanted[key].shape)}"
        for key in both
        if found[key].shape != wanted[key].shape
    ]
    return Difference(len(both) - len(other), missing, [key for key in found if key not in wanted], other)


def _is_count(key: str) -> bool:
    return key.endswith("num_batches_tracked")
