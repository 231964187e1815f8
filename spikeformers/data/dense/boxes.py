"""The boxes of an image, and what may be wrong with them."""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

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

    def masks(self) -> np.ndarray:
        """The inside of each outline, `[N, H, W]` of 0 and 1. Raises ValueError for an outline that cannot be read."""
        return np.stack([_inside(outline, self.size) for outline in self.outlines] or [np.zeros((0, *self.size))])[
            : len(self)
        ].astype(np.uint8)


def _inside(outline: Any, size: tuple[int, int]) -> np.ndarray:
    if isinstance(outline, dict) and isinstance(outline.get("counts"), list):  # run lengths, column by column
        counts = outline["counts"]
        return np.repeat(np.arange(len(counts)) % 2, counts).reshape(size[::-1]).T
    if isinstance(outline, dict):
        try:
            from pycocotools.mask import decode
        except ImportError:
            raise ImportError('compressed masks need pycocotools: pip install "spikeformers[dense]"') from None
        read: Any = decode
        return np.asarray(read(outline))
    canvas = Image.new("1", (size[1], size[0]))
    for polygon in outline:
        ImageDraw.Draw(canvas).polygon([float(number) for number in polygon], fill=1)
    return np.asarray(canvas)


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
        classes: Sequence[Any],
        crowd: Sequence[bool] = (),
        outlines: Sequence[Any] = (),
    ) -> Boxes:
        """The sound boxes of an image, cut at its border. `classes` are the names that are known, in order.

        Broken ones have no area, lie outside the image, or are of an unknown class.
        """
        if not len(corners):
            return Boxes(size)
        height, width = size
        given = np.asarray(corners, np.float64).reshape(-1, 4)
        cut = given.clip(0, [width, height, width, height])
        known = {name: label for label, name in enumerate(classes)}
        sound = []
        for i, (box, inner) in enumerate(zip(given, cut, strict=True)):
            spelt = f"{file}: box {i + 1}, from ({box[0]:g}, {box[1]:g}) to ({box[2]:g}, {box[3]:g}),"
            if not np.isfinite(box).all() or not (box[2:] > box[:2]).all():
                self.broken.append(f"{spelt} has no area")
            elif not (inner[2:] > inner[:2]).all():
                self.broken.append(f"{spelt} lies outside the image of {width} x {height} pixels")
            elif names[i] not in known:
                listed = ", ".join(map(str, [*classes][:8])) + (", ..." if len(classes) > 8 else "")
                self.broken.append(f"{spelt} is of the class {names[i]!r}, which is none of {listed}")
            else:
                sound.append(i)
                if np.abs(box - inner).max() > 1:  # less is rounding
                    self.clipped.append(spelt.removesuffix(","))
        self.boxes += len(given)
        labels = np.array([known[names[i]] for i in sound], np.int64)
        crowds = np.array([bool(crowd[i]) if len(crowd) else False for i in sound], bool)
        outlined = tuple(outlines[i] for i in sound) if len(outlines) else ()
        return Boxes(size, cut[sound].astype(np.float32).reshape(-1, 4), labels, crowds, outlined)

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
