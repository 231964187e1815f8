"""A folder of WebDataset shards as an image set: `train/*.tar`, and the same under `val`, `test` or both.

A million images fit into a few hundred files. Shards are read by random access, not as a stream, so that the seed
determines the order of an epoch, and an interrupted run resumes with the next batch.
"""

import io
import logging
import tarfile
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .dense.labelled import class_names
from .image_dataset import ImageFiles
from .image_file import EXTENSIONS

_SPLITS = ("train", "val", "test")
_TAIL = 1 << 20  # bytes that may follow the last member: two empty blocks, and what fills up a tape's record


class _Found(NamedTuple):
    """One shard's images: each one's offset, size in bytes and label; and labels without an image."""

    starts: list[int]
    sizes: list[int]
    labels: list[int]
    lone: list[str]


class ShardImages(ImageFiles):
    """Images inside tar files; item i is (PIL image of mode RGB, label)."""

    def __init__(self, shards: list[Path], found: list[_Found]):
        self.shards = shards
        self.shard_of = np.repeat(np.arange(len(shards)), [len(one.labels) for one in found])
        self.starts, self.sizes, targets = (
            np.array([value for one in found for value in one[i]], dtype=np.int64) for i in range(3)
        )
        self.targets: list[int] = targets.tolist()

    def name_of(self, index: int) -> str:
        return f"{self.shards[self.shard_of[index]]}, byte {self.starts[index]},"

    def file_of(self, index: int) -> io.BytesIO:
        with self.shards[self.shard_of[index]].open("rb") as file:
            file.seek(int(self.starts[index]))
            return io.BytesIO(file.read(int(self.sizes[index])))


def holds_shards(folder: Path) -> bool:
    """Whether a folder's splits hold tar files."""
    return any(any((folder / name).glob("[!.]*.tar")) for name in _SPLITS)


def read_shards(folder: Path) -> tuple[dict[str, ShardImages], tuple[str, ...]]:
    """The splits in `folder` by name, and the class names: the lines of `classes.txt`, or numbers.

    A shard holds each image with its label: `0001.jpg` and `0001.cls`, an integer.
    Raises FileNotFoundError if a split is missing, ValueError for an invalid shard or an image without a label.
    """
    shards = {name: found for name in _SPLITS if (found := sorted((folder / name).glob("[!.]*.tar")))}
    if "train" not in shards or len(shards) == 1:
        missing = "its 'val' or 'test' folder" if "train" in shards else "its 'train' folder"
        raise FileNotFoundError(f"{folder} has shards in {' and '.join(shards)} only: put others into {missing}")
    for name in _SPLITS:
        if beside := [entry for entry in (folder / name).glob("[!.]*") if entry.is_dir()]:
            raise ValueError(
                f"{folder} has shards in {', '.join(shards)} and the folder {beside[0]}: keep either shards or folders"
            )
    splits = {name: _read_split(found) for name, found in shards.items()}
    count = 1 + max(max(split.targets) for split in splits.values())
    classes = class_names(folder) or tuple(map(str, range(count)))
    if len(classes) < count:
        raise ValueError(
            f"{folder / 'classes.txt'} names {len(classes)} classes, but the shards' labels go up to {count - 1}: name "
            "every class, one a line"
        )
    return splits, classes


def _read_split(shards: list[Path]) -> ShardImages:
    with ThreadPool(8) as pool:  # reads headers only, bound by the disk
        found = pool.map(_find, shards)
    if lone := [f"{name}.cls in {shard}" for shard, one in zip(shards, found, strict=True) for name in one.lone]:
        logging.getLogger("spikeformers").warning(
            "skipped %d label(s) of %s without an image (%s), the first is %s",
            len(lone), shards[0].parent, " ".join(EXTENSIONS), lone[0],
        )  # fmt: skip
    images = ShardImages(shards, found)
    if not len(images):
        raise FileNotFoundError(
            f"{shards[0].parent} holds no image ({' '.join(EXTENSIONS)}) in its {len(shards)} shards: make them again"
        )
    return images


def _find(shard: Path) -> _Found:
    images: dict[str, tarfile.TarInfo] = {}
    labels: dict[str, int] = {}
    try:
        with tarfile.open(shard, "r:") as tar:
            for member in tar:
                key, _, extension = member.name.rpartition(".")
                if any(part.startswith(".") and part != "." for part in member.name.split("/")):
                    continue  # hidden, such as macOS's "._0001.jpg"
                is_image = f".{extension.lower()}" in EXTENSIONS
                if key in (images if is_image else labels if extension == "cls" else ()):
                    raise ValueError(f"{member.name} is the second {'image' if is_image else 'label'} of {key}")
                if is_image:
                    images[key] = member
                elif extension == "cls" and (file := tar.extractfile(member)):
                    labels[key] = int(file.read())
                    if labels[key] < 0:
                        raise ValueError(f"{member.name} holds {labels[key]}, which is below 0")
            _check_end(tar)
    except (tarfile.TarError, ValueError) as error:
        raise ValueError(f"{shard} is not a shard of images with integer labels ({error}): make it again") from error
    for key, member in images.items():
        if key not in labels:
            raise ValueError(f"{shard} has {member.name} but no {key}.cls: add a label for each image")
    keys = sorted(images)
    return _Found(
        [images[key].offset_data for key in keys],
        [images[key].size for key in keys],
        [labels[key] for key in keys],
        sorted(labels.keys() - images.keys()),
    )


def _check_end(tar: tarfile.TarFile) -> None:
    """Raises ValueError unless the archive ends where reading stopped: tarfile takes a damaged header for the end."""
    assert tar.fileobj is not None
    tar.fileobj.seek(tar.offset)
    tail = tar.fileobj.read(_TAIL)
    if len(tail) < tarfile.BLOCKSIZE or tail.strip(b"\0"):
        raise ValueError(f"it is cut off, damaged or joined to another at byte {tar.offset}")
