"""What a part of a labelled set is, and cutting one out, the same share of every class."""

import math
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike


class Split(Protocol):
    """Items (something, label) by number. A `torch.utils.data.Dataset` need not know how many it has; these do."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


def stratified_split(labels: ArrayLike, fraction: float, seed: int) -> tuple[list[int], list[int]]:
    """Indices of (the rest, the part) in ascending order; every class gives `fraction` of its items and keeps one."""
    labels = np.asarray(labels)
    rng = np.random.RandomState(seed)  # its stream never changes between NumPy releases; default_rng's may
    part = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        part[members[: min(round(fraction * len(members)), len(members) - 1)]] = True
    return np.flatnonzero(~part).tolist(), np.flatnonzero(part).tolist()


def split_in_order(labels: ArrayLike, fraction: float) -> tuple[list[int], list[int]]:
    """Indices of (the rest, the part) in ascending order; the part is the last `fraction` of every class.

    What does not divide goes to the rest: of 1,000 items and 0.1 the first 900 stay.
    """
    labels = np.asarray(labels)
    part = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        kept = math.ceil(round(len(members) * (1 - fraction), 6))  # 0.9 of 10 is 9, whatever 10 * 0.9 comes to
        part[members[max(kept, 1) :]] = True
    return np.flatnonzero(~part).tolist(), np.flatnonzero(part).tolist()
