"""The boxes of an image, and what may be wrong with them."""

import hashlib
import logging
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..image_file import SKIP_BROKEN


@dataclass(frozen=True)
class Boxes:
    """The boxes of an image of `size` (height, width): corners `[N, 4]` as x1 y1 x2 y2 in pixels, and labels `[N]`.

    `crowd` `[N]` marks boxes that training leaves out and evaluation neither asks for nor counts against a model.
    `outlines` has COCO's `segmentation` of each box, if the file has them.
    """

    size: tuple[int, int]
    corners: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    labels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    crowd: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    outlines: tuple[Any, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def __str__(self) -> str:  # what a digest of the data is made of
        parts = (self.corners.tobytes(), self.labels.tobytes(), self.crowd.tobytes(), repr(self.outlines).encode())
        return f"{self.size} {hashlib.sha256(b''.join(parts)).hexdigest()[:16]}"

    def of(self, chosen: np.ndarray) -> "Boxes":
        """The boxes at the indices `chosen`."""
        outlines = tuple(self.outlines[i] for i in chosen) if self.outlines else ()
        return Boxes(self.size, self.corners[chosen], self.labels[chosen], self.crowd[chosen], outlines)

    def parsed(self) -> list[list[Any]]:
        """Each outline as polygons, or as the lengths of runs. Raises ValueError for one that cannot be read."""
        if len(self.outlines) < len(self):
            raise ValueError(
                "it has boxes without outlines, which a model with masks needs: take a model of boxes alone"
            )
        return [_parsed(outline, self.size, i) for i, outline in enumerate(self.outlines, 1)]

    def masks(self) -> np.ndarray:
        """The inside of each outline, `[N, H, W]` of 0 and 1. Raises ValueError for an outline that cannot be read."""
        inside = np.zeros((len(self), *self.size), np.uint8)
        for mask, parts in zip(inside, self.parsed(), strict=True):
            mask[:] = _inside(parts, self.size)
        return inside


def _parsed(outline: Any, size: tuple[int, int], number: int) -> list[Any]:
    """pycocotools is no help here: it reads what lies after the runs of a damaged mask."""
    height, width = size
    if isinstance(outline, dict):
        counts: Any = outline.get("counts")
        counts = _uncompressed(counts) if isinstance(counts, str) else counts
        whole = isinstance(counts, list) and all(type(count) is int and count >= 0 for count in counts)
        if whole and sum(counts) == height * width and outline.get("size") == [height, width]:
            return counts
        raise ValueError(f"mask {number} has no runs that fill an image of {width} x {height} pixels")
    polygons = outline if isinstance(outline, list) else [None]
    for polygon in polygons:
        numbers = [as_number(n) for n in polygon] if isinstance(polygon, list) else []
        if len(numbers) < 6 or len(numbers) % 2 or not all(abs(n) < _FAR for n in numbers):
            raise ValueError(f"outline {number} has a polygon that is not a list of three or more x, y in pixels")
    return polygons


def _uncompressed(counts: str) -> list[int]:
    """The lengths of runs: five bits a letter, lowest first, and from the third on less the run before the last."""
    runs: list[int] = []
    value = bits = 0
    for letter in counts:
        code = ord(letter) - 48
        value |= (code & 31) << bits
        bits += 5
        if not code & 32:
            value -= (1 << bits) * (code >> 4 & 1)  # the last letter's highest bit is the sign
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = bits = 0
    return runs


def _inside(parts: list[Any], size: tuple[int, int]) -> np.ndarray:
    if parts and isinstance(parts[0], int):  # run by run, column by column
        return np.repeat(np.arange(len(parts)) % 2, parts).reshape(size[::-1]).T
    if not parts:
        return np.zeros(size, np.uint8)
    try:
        from pycocotools import mask
    except ImportError:
        raise ImportError('outlines need pycocotools: pip install "spikeformers[dense]"') from None
    coco: Any = mask
    return coco.decode(coco.merge(coco.frPyObjects(parts, *size)))  # COCO's pixels: other libraries draw the edge too


_FAR = 1e6  # pixels; pycocotools walks along every edge, and overflows further out


def as_number(value: Any) -> float:
    """A number of JSON as a float, infinite if it is too large for one, and NaN for what is none."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf


class Flaws:
    """Collects what is wrong with a set's annotations while they are read, so that all are counted and one is named."""

    def __init__(self) -> None:
        self.broken: list[str] = []
        self.clipped: list[str] = []
        self.boxes = 0

    def checked(
        self,
        file: str,
        size: tuple[int, int],
        corners: Sequence[Sequence[float]],
        names: Sequence[Any],
        known: Mapping[Any, int],
        crowd: Sequence[bool] = (),
        outlines: Sequence[Any] = (),
    ) -> Boxes:
        """The sound boxes of an image, cut at its border. `known` are the labels of the names of classes.

        Broken ones have no area, lie outside the image, or are of an unknown class.
        """
        if not len(corners):
            return Boxes(size)
        height, width = size
        given = np.asarray(corners, np.float64).reshape(-1, 4)
        cut = given.clip(0, [width, height, width, height]).astype(np.float32)
        sound = []
        for i, (box, inner) in enumerate(zip(given, cut, strict=True)):
            spelt = f"{file}: box {i + 1}, from ({box[0]:g}, {box[1]:g}) to ({box[2]:g}, {box[3]:g}),"
            if not np.isfinite(box).all() or not (box[2:] > box[:2]).all():
                self.broken.append(f"{spelt} has no area")
            elif not (inner[2:] > inner[:2]).all():
                self.broken.append(f"{spelt} lies outside the image of {width} x {height} pixels")
            elif not isinstance(names[i], Hashable) or names[i] not in known:
                listed = ", ".join(map(str, [*known][:8])) + (", ..." if len(known) > 8 else "")
                self.broken.append(f"{spelt} is of the class {names[i]!r}, which is none of {listed}")
            else:
                sound.append(i)
                if np.abs(box - inner).max() > 1:  # less is rounding
                    self.clipped.append(spelt.removesuffix(","))
        self.boxes += len(given)
        labels = np.array([known[names[i]] for i in sound], np.int64)
        crowds = np.array([bool(crowd[i]) if len(crowd) else False for i in sound], bool)
        outlined = tuple(outlines[i] for i in sound) if len(outlines) else ()
        return Boxes(size, cut[sound].reshape(-1, 4), labels, crowds, outlined)

    def settle(self, name: str, skip_broken: bool) -> None:
        """Raises ValueError for broken annotations, naming the first; `skip_broken` logs how many are skipped."""
        logger = logging.getLogger("spikeformers")
        if self.broken and not skip_broken:
            more = f", and {len(self.broken) - 1} more of {self.boxes} boxes are broken" if self.broken[1:] else ""
            raise ValueError(f"{self.broken[0]}{more}: correct the file, or leave such boxes out with {SKIP_BROKEN}")
        if self.broken:
            logger.warning(
                "skipped %d broken annotation(s) of %d boxes of %s, the first: %s",
                len(self.broken), self.boxes, name, self.broken[0],
            )  # fmt: skip
        if self.clipped:
            logger.warning(
                "cut %d of %d boxes of %s at the border of their image, the first: %s",
                len(self.clipped), self.boxes, name, self.clipped[0],
            )  # fmt: skip
