"""A folder of WebDataset shards as an image set: `train/*.tar`, and the same under `val`, `test` or both.

A million images are a few hundred files. Shards are read at random places, not as a stream, so that the order of an
epoch is the seed's, and a run that was cut goes on with the very next batch.
"""

import io
import tarfile
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from torch.utils.data import Dataset

from .folders import EXTENSIONS, open_rgb


class _Found(NamedTuple):
    """One shard's images: where each begins, its bytes and its label."""

    starts: list[int]
    sizes: list[int]
    labels: list[int]


class ShardImages(Dataset):
    """Images inside tar files; item i is (PIL image of mode RGB, label).

    Raises ValueError, naming the shard and the place in it, where one cannot be decoded.
    """

    def __init__(self, shards: list[Path], found: list[_Found]):
        self.shards = shards
        self.shard_of = np.repeat(np.arange(len(shards)), [len(one.labels) for one in found])
        self.starts, self.sizes, targets = (
            np.array([value for one in found for value in one[i]], dtype=np.int64) for i in range(3)
        )
        self.targets: list[int] = targets.tolist()

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        shard, start = self.shards[self.shard_of[index]], int(self.starts[index])
        with shard.open("rb") as file:
            file.seek(start)
            content = file.read(int(self.sizes[index]))
        return open_rgb(io.BytesIO(content), f"{shard}, byte {start},"), self.targets[index]


def holds_shards(folder: Path) -> bool:
    """Whether a folder's training images are in tar files."""
    return any((folder / "train").glob("*.tar"))


def read_shards(folder: Path) -> tuple[dict[str, ShardImages], tuple[str, ...]]:
    """The splits that lie in `folder` by name, and the names of classes: the lines of `classes.txt`, or numbers.

    Each image has its label beside it in the shard: `0001.jpg` and `0001.cls`, which holds a whole number.
    Raises FileNotFoundError where a split is missing, ValueError for a shard that is none and an image without a label.
    """
    names = [name for name in ("train", "val", "test") if any((folder / name).glob("*.tar"))]
    if len(names) == 1:
        raise FileNotFoundError(f"{folder} has shards in train only: put others into its 'val' or 'test' folder")
    splits = {name: _read_split(sorted((folder / name).glob("*.tar"))) for name in names}
    count = 1 + max(max(split.targets) for split in splits.values())
    listed = folder / "classes.txt"
    classes = tuple(listed.read_text().split("\n")) if listed.is_file() else tuple(map(str, range(count)))
    classes = classes[:-1] if classes[-1] == "" else classes
    if len(classes) < count:
        raise ValueError(f"{listed} names {len(classes)} classes, and the shards' labels go to {count - 1}: one a line")
    return splits, classes


def _read_split(shards: list[Path]) -> ShardImages:
    with ThreadPool(8) as pool:  # only headers are read: the time goes to the disk
        found = pool.map(_find, shards)
    images = ShardImages(shards, found)
    if not len(images):
        raise FileNotFoundError(
            f"{shards[0].parent} holds no image ({' '.join(EXTENSIONS)}) in its {len(shards)} shards"
        )
    return images


def _find(shard: Path) -> _Found:
    images: dict[str, tarfile.TarInfo] = {}
    labels: dict[str, int] = {}
    try:
        with tarfile.open(shard, "r:") as tar:
            for member in tar:
                key, _, extension = member.name.rpartition(".")
                if f".{extension.lower()}" in EXTENSIONS:
                    images[key] = member
                elif extension == "cls" and (file := tar.extractfile(member)):
                    labels[key] = int(file.read())
    except (tarfile.TarError, ValueError) as error:
        raise ValueError(f"{shard} is no shard of images with whole labels ({error}): make it again") from error
    for key, member in images.items():
        if key not in labels:
            raise ValueError(f"{shard} has {member.name} and no {key}.cls beside it: each image needs its label")
    keys = sorted(images)
    return _Found(
        [images[key].offset_data for key in keys], [images[key].size for key in keys], [labels[key] for key in keys]
    )
