"""A folder of recordings: `<split>/<class>/<recording>`, or `<class>/<recording>` where nobody has split them."""

from pathlib import Path

from torch.utils.data import Dataset

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
        """Those at `indices`."""
        return Recordings([self.items[i] for i in indices])


def find_splits(folder: Path) -> dict[str, Path]:
    """The folders train, val and test inside a folder, whatever the case of their names."""
    if not folder.is_dir():
        return {}
    named = {entry.name.lower(): entry for entry in sorted(folder.iterdir()) if entry.is_dir()}
    return {name: named[name] for name in ("train", "val", "test") if name in named}


def holds_recordings(folder: Path) -> bool:
    """Whether the first class folder, of train where there is one, has a recording in it."""
    parts = find_splits(folder).get("train", folder).iterdir()
    classes = [entry for entry in parts if entry.is_dir() and not entry.name.startswith(".")]
    return any(is_recording(file) for file in min(classes).iterdir()) if classes else False


def list_recordings(
    split: Path, classes: tuple[str, ...] | None = None, kind: type[Recording] | type[PreparedFrames] = Recording
) -> tuple[Recordings, tuple[str, ...]]:
    """The recordings in all class folders of `split`, as `recordings_of` lists them, and the classes.

    Raises FileNotFoundError where there are no classes or one is empty, ValueError where they are not `classes`.
    """
    found = tuple(sorted(entry.name for entry in split.iterdir() if entry.is_dir() and not entry.name.startswith(".")))
    if not found:
        raise FileNotFoundError(f"{split} has no class folders; put recordings at {split.name}/<class>/<recording>")
    if classes is not None and set(classes) != set(found):
        differing = sorted(set(classes) ^ set(found))
        raise ValueError(f"{split} has other classes than the training part: {', '.join(differing[:3])} is in one only")
    return recordings_of(split, classes or found, kind), classes or found


def recordings_of(
    split: Path, classes: tuple[str, ...], kind: type[Recording] | type[PreparedFrames] = Recording
) -> Recordings:
    """The recordings in `split/<class>/`, class after class and each in the order of file names.

    `kind` makes one of a path. Raises FileNotFoundError where a class is empty.
    """
    items = []
    for label, name in enumerate(classes):
        files = sorted(file for file in (split / name).iterdir() if is_recording(file))
        if not files:
            raise FileNotFoundError(
                f"{split / name} holds no recording ({' '.join(EXTENSIONS)}); add some, or remove that class"
            )
        items += [(kind(str(file)), label) for file in files]
    return Recordings(items)
