"""The event sets that the papers report on: where they lie, and how they are cut and split."""

from collections.abc import Callable
from pathlib import Path

from .folder import Recordings, find_splits, list_recordings

# A set's parts (train and, where its authors split it, test), class names, and sensor (height, width).
Loaded = tuple[dict[str, Recordings], tuple[str, ...], tuple[int, int]]

_MENDELEY = "https://data.mendeley.com/public-files/datasets"


def _nmnist(root: Path, download: bool) -> Loaded:
    """N-MNIST, 60,000 and 10,000 recordings in `Train/<digit>/*.bin` and `Test/`. Orchard et al., 2015."""
    folder = _find(root, "nmnist", lambda folder: {"train", "test"} <= find_splits(folder).keys())
    if folder is None:
        raise FileNotFoundError(f"nmnist is not in {str(root)!r}: unpack its Train.zip and Test.zip there")
    splits = find_splits(folder)
    train, classes = list_recordings(splits["train"])
    return {"train": train, "test": list_recordings(splits["test"], classes)[0]}, classes, (34, 34)


NAMED: dict[str, Callable[[Path, bool], Loaded]] = {"nmnist": _nmnist}


def _find(root: Path, name: str, is_it: Callable[[Path], bool]) -> Path | None:
    """The first of `root/name` and `root` that is the set's folder."""
    return next((folder for folder in (root / name, root) if folder.is_dir() and is_it(folder)), None)
