"""Measuring the size of a camera's sensor from recordings."""

import logging
import math
from typing import Any, NamedTuple

import numpy as np
from torch.utils.data import Dataset

from .columns import pixels
from .progress import each
from .recording import read_columns

_FURTHEST = 2**16  # coordinates beyond this are faults
_SHARE = 0.95  # share of coordinates, counted once per recording, that certainly are on the sensor


class _Extent(NamedTuple):
    stated: tuple[int, int] | None  # height and width
    rows: np.ndarray  # with events
    columns: np.ndarray


class _Extents(Dataset):
    """Item i is the `_Extent` of recording i, or None if it cannot be read."""

    def __init__(self, recordings: Any):
        self.recordings = recordings

    def __len__(self) -> int:
        return len(self.recordings)

    def __getitem__(self, index: int) -> _Extent | None:
        try:
            _, x, y, _, stated = read_columns(self.recordings[index][0].path)
            return _Extent(stated, _distinct(pixels(y, "y")), _distinct(pixels(x, "x")))
        except (ValueError, OSError, ImportError):
            return None  # making its frames reports the error


def measure_sensor(name: str, recordings: Any, workers: int) -> tuple[int, int]:
    """The height and width in pixels of a set of recordings. A measured size is logged.

    It is the largest size stated in the files, and covers the events of files that state none, except outliers: events
    beyond a gap as wide as everything before it, which come from a broken pixel or byte.
    """
    found = [extent for extent in each(_Extents(recordings), "looking for the sensor's size", workers) if extent]
    stated = sorted({extent.stated for extent in found if extent.stated})
    silent = [extent for extent in found if not extent.stated]
    sides = [_side([extent[axis] for extent in silent]) for axis in (1, 2)]
    height, width = (max([1, side, *(size[i] for size in stated)]) for i, side in enumerate(sides))
    logger = logging.getLogger("spikeformers")
    if silent:
        logger.warning(
            "all recordings of %s fit %d x %d pixels: set data.sensor to [%d, %d] or the camera's size to skip this "
            "search",
            name, height, width, height, width,
        )  # fmt: skip
        furthest = [max(int(extent[axis].max(initial=0)) for extent in silent) for axis in (1, 2)]
        if furthest[0] >= height or furthest[1] >= width:
            logger.warning(
                "some events lie far outside, up to x = %d and y = %d: they count as faults and are dropped",
                furthest[1], furthest[0],
            )  # fmt: skip
    if len(stated) > 1:
        logger.warning(
            "recordings of %s come from cameras of %s pixels: all frames are %d x %d",
            name, ", ".join(f"{h} x {w}" for h, w in stated), height, width,
        )  # fmt: skip
    return height, width


def _distinct(places: np.ndarray) -> np.ndarray:
    return np.flatnonzero(np.bincount(places[(places >= 0) & (places < _FURTHEST)]))


def _side(places: list[np.ndarray]) -> int:
    pooled = np.sort(np.concatenate([*places, np.empty(0, np.int64)]))
    if not len(pooled):
        return 0
    reach = pooled[math.ceil(_SHARE * (len(pooled) - 1))]
    for place in np.unique(pooled[pooled > reach]):
        if place + 1 > 2 * (reach + 1):
            break
        reach = place
    return int(reach) + 1
