"""How the event sets that the papers report on lie in their folders, and where those are found or fetched to."""

import contextlib
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from . import gesture
from .folder import Recordings, find_splits, list_recordings, recordings_of
from .recording import Recording

# A set's parts (train and, where its authors split it, test), and class names.
Loaded = tuple[dict[str, Recordings], tuple[str, ...]]
Archive = tuple[str, str, str]  # file name, address, MD5


def sideways(folder: Path, classes: Sequence[str]) -> Loaded:
    """Recordings in `<class>/*` that lie on their sides, as all code of the papers on CIFAR10-DVS reads them: x and y
    swapped against the camera's."""
    return {"train": recordings_of(folder, tuple(classes), partial(Recording, transposed=True))}, tuple(classes)


def trials(folder: Path) -> Loaded:
    """`trials_to_train.txt`, `trials_to_test.txt` and what they list, of DVS128 Gesture."""
    return {part: gesture.read_trials(folder, part) for part in ("train", "test")}, gesture.CLASSES


def unsplit(folder: Path) -> Loaded:
    """Recordings in `<class>/*`."""
    recordings, classes = list_recordings(folder)
    return {"train": recordings}, classes


def split(folder: Path) -> Loaded:
    """Recordings in `Train/<class>/*` and `Test/<class>/*`."""
    splits = find_splits(folder)
    train, classes = list_recordings(splits["train"])
    return {"train": train, "test": list_recordings(splits["test"], classes)[0]}, classes


def find_set(root: Path, name: str, is_it: Callable[[Path], bool], archives: Sequence[Archive], download: bool) -> Path:
    """The set's folder: `root/name`, `root`, or the one folder that an archive makes in either of them.

    Where there is none and `download` allows it, the archives are fetched to `root/name` and unpacked there. Raises
    FileNotFoundError, with what to put where, if that fails too.
    """
    why = "and was not to be downloaded"
    for attempt in (False, True):
        if attempt:
            if not download:
                break
            try:
                _fetch(root / name, archives)
            except (OSError, RuntimeError) as error:  # no network, or files of another checksum
                why = " ".join(str(error).split())
                break
        for folder in (root / name, root):
            inside = (folder / "DvsGesture", folder / "Caltech101", folder / "N-Caltech101")
            if found := next((place for place in (folder, *inside) if place.is_dir() and is_it(place)), None):
                return found
    named = ", ".join(f"{file} from {address}" for file, address, _ in archives[:2])
    more = len(archives) - 2
    raise FileNotFoundError(
        f"{name} is not in {str(root)!r} ({why}); put there what is in {named}"
        + (f" and {more} more" if more > 0 else "")
        + ", unpacked, or name another folder by --data.root"
    )


def _fetch(folder: Path, archives: Sequence[Archive]) -> None:
    from torchvision.datasets.utils import download_and_extract_archive

    with contextlib.redirect_stdout(sys.stderr):  # stdout is for results
        for file, address, md5 in archives:
            download_and_extract_archive(address, str(folder), filename=file, md5=md5)
