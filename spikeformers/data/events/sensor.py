"""The size of a camera's sensor, where nobody says it."""

import logging
import math
from typing import Any, NamedTuple

import numpy as np
from torch.utils.data import Dataset

from .columns import pixels
from .progress import each
from .recording import read_columns

_FURTHEST = 2**16  # no pixel is further out, whatever an event says
_SHARE = 0.95  # of rows, each counted once a recording, that surely are on the sensor


class _Extent(NamedTuple):
    stated: tuple[int, int] | None  # height and width
    rows: np.ndarray  # on which there are events
    columns: np.ndarray


class _Extents(Dataset):
    """Item i is the `_Extent` of recording i; None of one that cannot be read."""

    def __init__(self, recordings: Any):
        self.recordings = recordings

    def __len__(self) -> int:
        return len(self.recordings)

    def __getitem__(self, index: int) -> _Extent | None:
        try:
            _, x, y, _, stated = read_columns(self.recordings[index][0].path)
            return _Extent(stated, _seen(pixels(y, "y")), _seen(pixels(x, "x")))
        except (ValueError, OSError, ImportError):
            return None  # it is named when its frames are made


def measure_sensor(name: str, recordings: Any, workers: int) -> tuple[int, int]:
    """The height and width in pixels of a set of recordings, which is also told to the log.

    It is the largest that their files state, and holds the events of those that state none, but for outliers: those
    beyond a gap as wide as all that lies before it, which comes of a broken pixel or byte.
    """
    found = [extent for extent in each(_Extents(recordings), "looking for the sensor's size", workers) if extent]
    stated = sorted({extent.stated for extent in found if extent.stated})
    silent = [extent for extent in found if not extent.stated]
    sides = [_side([extent[axis] for extent in silent]) for axis in (1, 2)]
    height, width = (max([1, side, *(size[i] for size in stated)]) for i, side in enumerate(sides))
    logger = logging.getLogger("spikeformers")
    if silent:
        logger.warning(
            "all recordings of %s fit %d x %d pixels: data.sensor [%d, %d], or what the camera has, saves looking",
            name, height, width, height, width,
        )  # fmt: skip
        furthest = [max(int(extent[axis].max(initial=0)) for extent in silent) for axis in (1, 2)]
        if furthest[0] >= height or furthest[1] >= width:
            logger.warning(
                "some events lie far outside, up to x = %d and y = %d: they are taken for faults and left out",
                furthest[1], furthest[0],
            )  # fmt: skip
    if len(stated) > 1:
        logger.warning(
            "recordings of %s are of different cameras, %s pixels: frames are %d x %d",
            name, ", ".join(f"{h} x {w}" for h, w in stated), height, width,
        )  # fmt: skip
    return height, width


def _seen(places: np.ndarray) -> np.ndarray:
    return np.flatnonzero(np.bincount(places[(places >= 0) & (places < _FURTHEST)]))


def _side(seen: list[np.ndarray]) -> int:
    pooled = np.sort(np.concatenate([*seen, np.empty(0, np.int64)]))
    if not len(pooled):
        return 0
    reach = pooled[math.ceil(_SHARE * (len(pooled) - 1))]
    for place in np.unique(pooled[pooled > reach]):
        if place + 1 > 2 * (reach + 1):
            break
        reach = place
    return int(reach) + 1
