"""Datasets of image files with boxes, or with a mask beside each."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..image_dataset import ImageFiles
from ..image_file import IN_A_SET, header_of, upright

VOID = 255  # in a mask: counts neither for training nor for evaluation


class LabelledFiles(ImageFiles):
    """Image files with boxes or a mask each.

    `turned` has the indices of images, of those that were checked, that their EXIF tag turns while no size shows
    whether the label was made on the turned picture, as is assumed.
    """

    def __init__(self, items: list[tuple[str, Any]]):
        self.paths = [path for path, _ in items]
        self.targets: list[Any] = [label for _, label in items]
        self.turned: set[int] = set()

    def name_of(self, index: int) -> str:
        return self.paths[index]

    file_of = name_of


class BoxedImages(LabelledFiles):
    """Image files with boxes; item i is (PIL image of mode RGB, `Boxes`)."""

    def flaw(self, index: int) -> str:
        height, width = self.targets[index].size
        size, tag = header_of(self.paths[index])
        if _may_differ(size, tag) and len(self.targets[index]):
            self.turned.add(index)
        turned = " as its EXIF tag turns it" if tag > 4 else ""
        return _of_another_size(self.paths[index], size, (width, height), "its boxes are for", turned)

    def __getitem__(self, index: int) -> tuple[Image.Image, Any]:
        image, boxes = super().__getitem__(index)
        if image.size != boxes.size[::-1]:
            raise ValueError(_of_another_size(self.paths[index], image.size, boxes.size[::-1], "its boxes are for"))
        return image, boxes


class MaskedImages(LabelledFiles):
    """Image files with masks; item i is (PIL image of mode RGB, classes `[H, W]` as uint8, 255 for void).

    `lookup` `[256]` gives the class of each value in a mask file, 255 for void, -1 for a value that means nothing.
    """

    def __init__(self, items: list[tuple[str, str]], lookup: np.ndarray):
        super().__init__(items)
        self.lookup = lookup

    def flaw(self, index: int) -> str:
        size, tag = header_of(self.paths[index])
        self._mask(index, size)
        if _may_differ(size, tag) and header_of(self.targets[index])[1] == 1:
            self.turned.add(index)
        return ""

    def __getitem__(self, index: int) -> tuple[Image.Image, np.ndarray]:
        image, _ = super().__getitem__(index)
        return image, self._mask(index, image.size)

    def mask(self, index: int) -> np.ndarray:
        """The classes `[H, W]` of image `index`, without reading its pixels."""
        return self._mask(index, header_of(self.paths[index])[0])

    def _mask(self, index: int, size: tuple[int, int]) -> np.ndarray:
        file = self.targets[index]
        try:
            with Image.open(file) as opened:
                mode, values = opened.mode, np.asarray(upright(opened))
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
    lookup[[*range(first), VOID, *([] if void is None else [checked_void(void)])]] = VOID
    return lookup


def checked_void(void: int) -> int:
    """A value of masks that counts for nothing. Raises ValueError if no mask can have it."""
    if not 0 <= void <= VOID:
        raise ValueError(f"data.void {void} is no value of a mask: give one from 0 to {VOID}")
    return void


def _may_differ(size: tuple[int, int], tag: int) -> bool:
    """Whether a label has the same size on an image that its EXIF tag turns or mirrors as on the file's pixels."""
    return tag in (2, 3, 4) or (tag in (5, 6, 7, 8) and size[0] == size[1])


def _of_another_size(file: str, size: tuple[int, ...], wanted: tuple[int, ...], what: str, turned: str = "") -> str:
    if size == wanted:
        return ""
    (width, height), (other_width, other_height) = size, wanted
    return f"{file} has {width} x {height} pixels{turned}, but {what} {other_width} x {other_height}; {IN_A_SET}"


def say_skipped(folder: Path, files: Sequence[str | Path], why: str) -> None:
    """Logs files of a folder that nothing is made of."""
    if files:
        logging.getLogger("spikeformers").warning(
            "skipped %d file(s) of %s, the first is %s: %s", len(files), folder, files[0], why
        )


def text_of(file: Path) -> str:
    """A file's text, with or without a byte order mark. Raises ValueError if it is not in UTF-8."""
    try:
        return file.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not UTF-8 text ({error}): save it in that encoding") from error


def class_names(folder: Path) -> tuple[str, ...] | None:
    """The lines of a folder's `classes.txt`, in the order of the classes' numbers, or None without the file."""
    file = folder / "classes.txt"
    if not file.is_file():
        return None
    names = tuple(line.strip() for line in text_of(file).splitlines() if line.strip())
    if not names or len({*names}) < len(names):
        raise ValueError(f"{file} names no class, or one twice: write one name a line")
    return names
