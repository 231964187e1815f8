"""Datasets of image files with boxes, or with a mask beside each."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..image_dataset import ImageFiles
from ..image_file import IN_A_SET, size_of

VOID = 255  # in a mask: counts neither for training nor for evaluation


class BoxedImages(ImageFiles):
    """Image files with boxes; item i is (PIL image of mode RGB, `Boxes`)."""

    def __init__(self, items: list[tuple[str, Any]]):
        self.paths = [path for path, _ in items]
        self.targets: list[Any] = [boxes for _, boxes in items]

    def name_of(self, index: int) -> str:
        return self.paths[index]

    file_of = name_of

    def flaw(self, index: int) -> str:
        height, width = self.targets[index].size
        return _of_another_size(self.paths[index], size_of(self.paths[index]), (width, height), "its boxes are for")

    def __getitem__(self, index: int) -> tuple[Image.Image, Any]:
        image, boxes = super().__getitem__(index)
        if image.size != boxes.size[::-1]:
            raise ValueError(_of_another_size(self.paths[index], image.size, boxes.size[::-1], "its boxes are for"))
        return image, boxes


class MaskedImages(ImageFiles):
    """Image files with masks; item i is (PIL image of mode RGB, classes `[H, W]` as uint8, 255 for void).

    `lookup` `[256]` gives the class of each value in a mask file, 255 for void, -1 for a value that means nothing.
    """

    def __init__(self, items: list[tuple[str, str]], lookup: np.ndarray):
        self.paths = [path for path, _ in items]
        self.targets: list[Any] = [mask for _, mask in items]
        self.lookup = lookup

    def name_of(self, index: int) -> str:
        return self.paths[index]

    file_of = name_of

    def flaw(self, index: int) -> str:
        self._mask(index, size_of(self.paths[index]))
        return ""

    def __getitem__(self, index: int) -> tuple[Image.Image, np.ndarray]:
        image, _ = super().__getitem__(index)
        return image, self._mask(index, image.size)

    def _mask(self, index: int, size: tuple[int, int]) -> np.ndarray:
        file = self.targets[index]
        try:
            with Image.open(file) as opened:
                mode, values = opened.mode, np.asarray(opened)
        except Exception as error:  # of Pillow's decoders
            why = " ".join(str(error).split())
            raise ValueError(f"{file} cannot be read as a mask ({why}); {IN_A_SET}") from error
        if mode not in ("L", "P", "1"):
            raise ValueError(f"{file} has mode {mode}: save masks as class numbers of 8 bits, one channel; {IN_A_SET}")
        if values.shape != size[::-1]:
            raise ValueError(_of_another_size(file, values.shape[::-1], size, "its image has"))
        classes = self.lookup[values.astype(np.uint8)]
        if (classes < 0).any():
            strange, known = int(values[classes < 0][0]), int((self.lookup[self.lookup != VOID]).max()) + 1
            raise ValueError(
                f"{file} has the value {strange}, but there are {known} classes and it is not void; name the class in "
                f"classes.txt, or have the value ignored with --data.void {strange}"
            )
        return classes.astype(np.uint8)


def lookup_of(classes: int, void: int | None = None, first: int = 0) -> np.ndarray:
    """The table of `MaskedImages` for masks whose classes count from `first`; lower values, 255 and `void` are void."""
    lookup = np.full(256, -1, np.int16)
    lookup[first : first + classes] = np.arange(classes)
    lookup[[*range(first), VOID, *([] if void is None else [void])]] = VOID
    return lookup


def _of_another_size(file: str, size: tuple[int, ...], wanted: tuple[int, ...], what: str) -> str:
    if size == wanted:
        return ""
    (width, height), (other_width, other_height) = size, wanted
    return f"{file} has {width} x {height} pixels, but {what} {other_width} x {other_height}; {IN_A_SET}"


def say_skipped(folder: Path, files: Sequence[str | Path], why: str) -> None:
    """Logs files of a folder that nothing is made of."""
    if files:
        logging.getLogger("spikeformers").warning(
            "skipped %d file(s) of %s, the first is %s: %s", len(files), folder, files[0], why
        )


def class_names(folder: Path) -> tuple[str, ...] | None:
    """The lines of a folder's `classes.txt`, in the order of the classes' numbers, or None without the file."""
    file = folder / "classes.txt"
    if not file.is_file():
        return None
    names = tuple(line.strip() for line in file.read_text("utf-8").splitlines() if line.strip())
    if not names or len({*names}) < len(names):
        raise ValueError(f"{file} names no class, or one twice: write one name a line")
    return names
