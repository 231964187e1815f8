"""Layouts of known event sets, and finding or downloading their folders."""

import contextlib
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from . import gesture
from .folder import Recordings, find_splits, list_recordings, recordings_of
from .recording import Recording

# A set's splits (train and, if its authors define one, test), and class names.
Loaded = tuple[dict[str, Recordings], tuple[str, ...]]
Archive = tuple[str, str, str]  # file name, address, MD5
_UNFINISHED = ".unfinished"  # a file beside archives while they are unpacked: it stays if that is interrupted


def sideways(folder: Path, classes: Sequence[str]) -> Loaded:
    """Recordings in `<class>/*` with x and y swapped, as the code of all papers reads CIFAR10-DVS."""
    return {"train": recordings_of(folder, tuple(classes), partial(Recording, transposed=True))}, tuple(classes)


def trials(folder: Path) -> Loaded:
    """The recordings that `trials_to_train.txt` and `trials_to_test.txt` of DVS128 Gesture list."""
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
    """The set's folder: `root/name`, `root`, or the folder that an archive unpacks to inside either of them.

    If it is missing, or unpacking it was interrupted, and `download` is set, the archives are downloaded to `root/name`
    and unpacked there. Raises FileNotFoundError, saying which files to put where, if that fails too.
    """
    unfinished = root / name / _UNFINISHED
    why = "downloading is off"
    for attempt in (False, True):
        if attempt:
            if not download:
                break
            try:
                _fetch(root / name, archives)
            except (OSError, RuntimeError) as error:  # no network, or a wrong checksum
                why = " ".join(str(error).split())
                break
        for folder in (root,) if unfinished.exists() else (root / name, root):
            inside = (folder / "DvsGesture", folder / "Caltech101", folder / "N-Caltech101")
            if found := next((place for place in (folder, *inside) if place.is_dir() and is_it(place)), None):
                return found
    named = ", ".join(f"{file} from {address}" for file, address, _ in archives[:2])
    more = len(archives) - 2
    raise FileNotFoundError(
        f"{name} is not in {str(root)!r} ({why}): unpack {named}"
        + (f" and {more} more" if more > 0 else "")
        + " there, or name another folder with --data.root"
        + (f"; unpacking was interrupted, so delete {unfinished} once all is there" if unfinished.exists() else "")
    )


def _fetch(folder: Path, archives: Sequence[Archive]) -> None:
    from torchvision.datasets.utils import download_url, extract_archive

    with contextlib.redirect_stdout(sys.stderr):  # stdout is for results
        for file, address, md5 in archives:
            download_url(address, str(folder), file, md5)
        (folder / _UNFINISHED).touch()
        for file, _, _ in archives:
            extract_archive(str(folder / file), str(folder))
        (folder / _UNFINISHED).unlink()
