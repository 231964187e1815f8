"""Keys of released files, translated to ours."""

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from spikeformers.models.registry import Family

_OURS = re.compile(r"stem\.(?!conv\.(?:conv3x3|bn)\.)")  # SGLFormer's released files have a `stem.conv` too

# Our keys that have moved: those of InnerResidualMLP, whose layers shared one shortcut in 0.3.0.
_MOVED = (
    (r"\.core\.(fc[12])\.", r".\1.core."),
    (r"\.mlp\.neuron\.", r".mlp.fc1.neuron."),
    (r"\.mlp\.core\.neuron\.", r".mlp.fc2.neuron."),
)


def check_loadable(weights: Mapping[str, Tensor], family: Family, path: Path | str) -> None:
    """Raises ValueError for a file of the family that holds no model of it, such as its pre-training."""
    for pattern, what in family.unloadable.items():
        if any(re.match(pattern, key) for key in weights):
            raise ValueError(f"{path} is {what}")


def translate(
    weights: Mapping[str, Tensor], family: Family, config: Mapping[str, Any], ours: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """A released state dict under our keys: renamed, without dead keys, linear weights reshaped to 1x1 convolutions.

    One with our keys (some start with `stem.`) is returned as it is, but for keys that have moved.
    """
    if any(map(_OURS.match, weights)):
        moved = {key: now for key in weights if key not in ours and (now := _renamed(key, _MOVED)) in ours}
        return {moved.get(key, key): value for key, value in weights.items()}
    renames = tuple(family.renames(config) if callable(family.renames) else family.renames)
    translated = {}
    for key, value in weights.items():
        if key not in ours:
            if any(re.fullmatch(pattern, key) for pattern in family.dead_keys):
                continue
            key = _renamed(key, renames)
        if key in ours and value.shape != (wanted := ours[key].shape) and (*value.shape, 1, 1)[: len(wanted)] == wanted:
            value = value.reshape(wanted)
        translated[key] = value
    return translated


@functools.lru_cache(maxsize=1 << 16)  # identifying a file translates its keys many times
def _renamed(key: str, renames: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in renames:
        key = re.sub(pattern, replacement, key)
    return key
