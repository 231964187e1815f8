"""What a split of a labelled set is, and splitting one with the same share of every class."""

import math
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike


class Split(Protocol):
    """Items (input, label) by index. Unlike a `torch.utils.data.Dataset`, a split always has a length."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


def stratified_split(labels: ArrayLike, fraction: float, seed: int) -> tuple[list[int], list[int]]:
    """Indices (rest, part) in ascending order; the part has `fraction` of every class, but never a whole class."""
    labels = np.asarray(labels)
    rng = np.random.RandomState(seed)  # its stream never changes between NumPy releases; default_rng's may
    part = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        part[members[: min(round(fraction * len(members)), len(members) - 1)]] = True
    return np.flatnonzero(~part).tolist(), np.flatnonzero(part).tolist()


def split_in_order(labels: ArrayLike, fraction: float) -> tuple[list[int], list[int]]:
    """Indices (rest, part) in ascending order; the part is the last `fraction` of every class, rounded down."""
    labels = np.asarray(labels)
    part = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        kept = math.ceil(round(len(members) * (1 - fraction), 6))  # rounded: float error must not add an item
        part[members[max(kept, 1) :]] = True
    return np.flatnonzero(~part).tolist(), np.flatnonzero(part).tolist()
