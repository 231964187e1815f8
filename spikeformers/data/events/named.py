"""The event sets that the papers report on: where they lie, and how they are cut and split."""

import contextlib
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from . import gesture
from .folder import Recordings, find_splits, list_recordings, recordings_of
from .recording import Recording

# A set's parts (train and, where its authors split it, test), class names, and sensor (height, width).
Loaded = tuple[dict[str, Recordings], tuple[str, ...], tuple[int, int]]

_MENDELEY = "https://data.mendeley.com/public-files/datasets/{}/file_downloaded"
_CIFAR10DVS = {  # figshare's number of a class's archive, and its MD5
    "airplane": (7712788, "0afd5c4bf9ae06af762a77b180354fdd"),
    "automobile": (7712791, "8438dfeba3bc970c94962d995b1b9bdd"),
    "bird": (7712794, "a9c207c91c55b9dc2002dc21c684d785"),
    "cat": (7712812, "52c63c677c2b15fa5146a8daf4d56687"),
    "deer": (7712815, "b6bf21f6c04d21ba4e23fc3e36c8a4a3"),
    "dog": (7712818, "f379ebdf6703d16e0a690782e62639c3"),
    "frog": (7712842, "cad6ed91214b1c7388a5f6ee56d08803"),
    "horse": (7712851, "e7cbbf77bec584ffbf913f00e682782a"),
    "ship": (7712836, "41c7bd7d6b251be82557c6cce9a7d5c9"),
    "truck": (7712839, "89f3922fd147d9aeff89e76a2b0b70a7"),
}
ARCHIVES = {  # of each set: file name, address, MD5
    "cifar10dvs": [
        (f"{name}.zip", f"https://ndownloader.figshare.com/files/{number}", md5)
        for name, (number, md5) in _CIFAR10DVS.items()
    ],
    "dvs128_gesture": [
        (
            "DvsGesture.tar.gz",
            "https://www.dropbox.com/s/cct5kyilhtsliup/DvsGesture.tar.gz?dl=1",
            "8a5c71fb11e24e5ca5b11866ca6c00a1",
        )
    ],
    "n_caltech101": [
        (
            "Caltech101.zip",
            _MENDELEY.format("cy6cvx3ryv/files/36b5c52a-b49d-4853-addb-a836a8883e49"),
            "66201824eabb0239c7ab992480b50ba3",
        )
    ],
    "nmnist": [
        (
            "Train.zip",
            _MENDELEY.format("468j46mzdv/files/39c25547-014b-4137-a934-9d29fa53c7a0"),
            "20959b8e626244a1b502305a9e6e2031",
        ),
        (
            "Test.zip",
            _MENDELEY.format("468j46mzdv/files/05a4d654-7e03-4c15-bdfa-9bb2bcbea494"),
            "69ca8762b2fe404d9b9bad1103e97832",
        ),
    ],
}


def _cifar10dvs(root: Path, download: bool) -> Loaded:
    """CIFAR10-DVS, 1,000 recordings in `<class>/*.aedat` of each of 10 classes, not split. Li et al., 2017.

    They lie on their sides, as all code of the papers reads them: x and y swapped against the camera's.
    """
    folder = _find(root, "cifar10dvs", lambda folder: all((folder / name).is_dir() for name in _CIFAR10DVS), download)
    classes = tuple(_CIFAR10DVS)
    sideways = partial(Recording, transposed=True)
    return {"train": recordings_of(folder, classes, sideways)}, classes, (128, 128)


def _dvs128_gesture(root: Path, download: bool) -> Loaded:
    """DVS128 Gesture, `trials_to_train.txt`, `trials_to_test.txt` and what they list. Amir et al., CVPR 2017."""
    folder = _find(root, "dvs128_gesture", lambda folder: (folder / "trials_to_train.txt").is_file(), download)
    return {part: gesture.read_trials(folder, part) for part in ("train", "test")}, gesture.CLASSES, (128, 128)


def _n_caltech101(root: Path, download: bool) -> Loaded:
    """N-Caltech101, recordings in `<class>/*.bin` of 101 classes, not split. Orchard et al., 2015."""
    folder = _find(root, "n_caltech101", lambda folder: (folder / "airplanes").is_dir(), download)
    recordings, classes = list_recordings(folder)
    return {"train": recordings}, classes, (180, 240)


def _nmnist(root: Path, download: bool) -> Loaded:
    """N-MNIST, 60,000 and 10,000 recordings in `Train/<digit>/*.bin` and `Test/`. Orchard et al., 2015."""
    folder = _find(root, "nmnist", lambda folder: {"train", "test"} <= find_splits(folder).keys(), download)
    splits = find_splits(folder)
    train, classes = list_recordings(splits["train"])
    return {"train": train, "test": list_recordings(splits["test"], classes)[0]}, classes, (34, 34)


NAMED: dict[str, Callable[[Path, bool], Loaded]] = {
    "cifar10dvs": _cifar10dvs,
    "dvs128_gesture": _dvs128_gesture,
    "n_caltech101": _n_caltech101,
    "nmnist": _nmnist,
}


def _find(root: Path, name: str, is_it: Callable[[Path], bool], download: bool) -> Path:
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
                _fetch(root / name, name)
            except (OSError, RuntimeError) as error:  # no network, or files of another checksum
                why = " ".join(str(error).split())
                break
        for folder in (root / name, root):
            inside = (folder / "DvsGesture", folder / "Caltech101", folder / "N-Caltech101")
            if found := next((place for place in (folder, *inside) if place.is_dir() and is_it(place)), None):
                return found
    archives = ", ".join(f"{file} from {address}" for file, address, _ in ARCHIVES[name][:2])
    more = len(ARCHIVES[name]) - 2
    raise FileNotFoundError(
        f"{name} is not in {str(root)!r} ({why}); put there what is in {archives}"
        + (f" and {more} more" if more > 0 else "")
        + ", unpacked, or name another folder by --data.root"
    )


def _fetch(folder: Path, name: str) -> None:
    from torchvision.datasets.utils import download_and_extract_archive

    with contextlib.redirect_stdout(sys.stderr):  # stdout is for results
        for file, address, md5 in ARCHIVES[name]:
            download_and_extract_archive(address, str(folder), filename=file, md5=md5)
