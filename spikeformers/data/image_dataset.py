"""Datasets of image files, and which of their files cannot be read."""

import os
import sys
from collections.abc import Iterable
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image
from torch.utils.data import Dataset, Subset

from .image_file import IN_A_SET, read_image
from .readable import Readable


class ImageFiles(Dataset):
    """Labelled image files; item i is (PIL image of mode RGB, label). Raises what `read_image` raises."""

    targets: list[int]

    def name_of(self, index: int) -> str:
        """The name of image `index` in error messages."""
        raise NotImplementedError

    def file_of(self, index: int) -> str | BinaryIO:
        """Image `index`, as a path or a file in memory."""
        raise NotImplementedError

    def flaw(self, index: int) -> str:
        """Why the label of image `index` does not suit it, "" if it does."""
        return ""

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Image.Image, Any]:
        return read_image(self.file_of(index), self.name_of(index)), self.targets[index]


class Kept(Subset):
    """The images at `indices` of `ImageFiles`."""

    def __init__(self, dataset: ImageFiles, indices: list[int]):
        super().__init__(dataset, indices)
        self.targets = [dataset.targets[i] for i in indices]


def item_at(dataset: Any, index: int) -> tuple[Any, int]:
    """The dataset and index behind item `index` of nested subsets."""
    while isinstance(dataset, Subset | Readable):
        index = dataset.indices[index] if isinstance(dataset, Subset) else index
        dataset = dataset.dataset
    return dataset, index


def find_broken(dataset: Any) -> dict[int, str]:
    """The unreadable images of a dataset of files: their indices, and why. Empty for other datasets.

    Checks headers, checksums and the end of each JPEG, and decodes pixels only where these are not enough.
    """
    if not len(dataset) or not isinstance(item_at(dataset, 0)[0], ImageFiles):
        return {}
    with ThreadPool(16) as pool:  # bound by the disk
        whys = pool.imap(lambda i: _why_broken(*item_at(dataset, i)), range(len(dataset)), chunksize=32)
        return {i: why for i, why in enumerate(_shown(whys, len(dataset))) if why}


def check_images(dataset: Any) -> None:
    """Raises ValueError, naming the first, if any images of a dataset of files cannot be read."""
    if broken := list(find_broken(dataset).values()):
        reason, _, remedy = broken[0].partition("; ")
        others = f", and {len(broken) - 1} more of {len(dataset)} images cannot" if broken[1:] else ""
        raise ValueError(f"{reason}{others}; {remedy}")


def _why_broken(images: ImageFiles, index: int) -> str:
    name = images.name_of(index)
    try:
        found = images.file_of(index)
        with Path(found).open("rb") if isinstance(found, str) else found as file:
            if not _is_surely_whole(file):
                file.seek(0)
                read_image(file, name)
        return images.flaw(index)
    except ValueError as error:
        return str(error)
    except OSError as error:
        return f"{name} cannot be read as an image ({error}); {IN_A_SET}"


def _is_surely_whole(file: BinaryIO) -> bool:
    """Whether an image is certainly complete without decoding it; False says only that decoding must decide."""
    try:
        with Image.open(file) as image:
            if image.mode.startswith(("I", "F")) or image.format not in ("JPEG", "MPO", "PNG"):
                return False
            image.verify()  # checks a PNG's checksums, and nothing of a JPEG
            if image.format == "PNG":
                return True
    except Exception:
        return False
    file.seek(-2, os.SEEK_END)
    return file.read(2) == b"\xff\xd9"


def _shown(found: Iterable[str], total: int) -> Iterable[str]:
    from rich.console import Console
    from rich.progress import track

    console = Console(file=sys.stderr)
    return track(found, "checking image files", total, console=console, transient=True, disable=not console.is_terminal)
