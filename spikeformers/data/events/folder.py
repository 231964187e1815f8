"""A folder of recordings: `<split>/<class>/<recording>`, or `<class>/<recording>` without splits."""

import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from torch.utils.data import Dataset

from ..image_file import files_below
from .prepared import PreparedFrames
from .recording import EXTENSIONS, Recording, is_recording


class Recordings(Dataset):
    """A labelled set of recordings; item i is (`Recording`, label)."""

    def __init__(self, items: list[tuple[Recording | PreparedFrames, int]]):
        self.items = items
        self.targets = [label for _, label in items]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[Recording | PreparedFrames, int]:
        return self.items[index]

    def of(self, indices: list[int]) -> "Recordings":
        """The subset at `indices`."""
        return Recordings([self.items[i] for i in indices])


def find_splits(folder: Path) -> dict[str, Path]:
    """The folders train, val and test inside a folder, in any letter case."""
    if not folder.is_dir():
        return {}
    named = {entry.name.lower(): entry for entry in sorted(folder.iterdir()) if entry.is_dir()}
    return {name: named[name] for name in ("train", "val", "test") if name in named}


def class_folders(split: Path) -> list[Path]:
    """The class folders of a split, sorted by name."""
    return sorted(entry for entry in split.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def files_in(folder: Path) -> list[Path]:
    """All files below a folder, sorted by path, without hidden ones. Raises what `files_below` raises."""
    return sorted(map(Path, files_below(folder)))


def list_recordings(
    split: Path, classes: tuple[str, ...] | None = None, kind: Callable[[str], Recording | PreparedFrames] = Recording
) -> tuple[Recordings, tuple[str, ...]]:
    """The recordings in all class folders of `split`, in the order of `recordings_of`, and the classes.

    Raises FileNotFoundError if there are no classes or one is empty, ValueError if they differ from `classes`.
    """
    found = tuple(entry.name for entry in class_folders(split))
    if not found:
        raise FileNotFoundError(f"{split} has no class folders: put recordings at {split.name}/<class>/<recording>")
    if classes is not None and set(classes) != set(found):
        differing = sorted(set(classes) ^ set(found))
        raise ValueError(
            f"{split} has other classes than the training split: only one of them has {', '.join(differing[:3])}; give "
            "both the same class folders"
        )
    return recordings_of(split, classes or found, kind), classes or found


def recordings_of(
    split: Path, classes: tuple[str, ...], kind: Callable[[str], Recording | PreparedFrames] = Recording
) -> Recordings:
    """The recordings below `split/<class>/`, class by class, sorted by path.

    `kind` makes an item from a path. Other files are skipped with a warning. Raises FileNotFoundError if a class is
    empty.
    """
    items, others = [], []
    for label, name in enumerate(classes):
        files = files_in(split / name)
        recordings = [file for file in files if is_recording(file)]
        others += [file for file in files if not is_recording(file)]
        if not recordings:
            there = f", but {endings(files)}" if files else ""
            raise FileNotFoundError(
                f"{split / name} holds no recording ({' '.join(EXTENSIONS)}){there}: add some, or remove that class"
            )
        items += [(kind(str(file)), label) for file in recordings]
    if others:
        logging.getLogger("spikeformers").warning(
            "%s: skipped %d file(s) that are not recordings, %s; the first is %s",
            split, len(others), endings(others), others[0],
        )  # fmt: skip
    return Recordings(items)


def endings(files: list[Path]) -> str:
    """File extensions with their numbers: `3 .jpg, 1 .foo`."""
    counts = Counter(file.suffix.lower() or file.name for file in files).most_common(5)
    return ", ".join(f"{count} {ending}" for ending, count in counts)
