"""Frames that SpikingJelly made, in a folder `frames_number_<T>_split_by_<number or time>`, read as they are."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .frames import Framing

_NAME = re.compile(r"frames_number_(\d+)_split_by_(number|time)")


@dataclass(frozen=True)
class PreparedFrames:
    """One recording as frames `[T, 2, H, W]`, the array `frames` of an `.npz` file."""

    path: str

    def opened(self) -> np.ndarray:
        """What is in its file. Raises ValueError, naming it, for a broken one."""
        return read_frames(Path(self.path))

    def framed(self, framing: Framing, frames: np.ndarray) -> np.ndarray:
        """Its frames, given what is in its file: they are cut already."""
        return frames

    def frames(self, framing: Framing) -> np.ndarray:
        """Its frames `[T, 2, H, W]`."""
        return self.framed(framing, self.opened())

    def keep(self, file: str) -> None:
        """Copies it to `file`, which is given without its ending."""
        shutil.copy(self.path, f"{file}.npz")


def read_frames(file: Path) -> np.ndarray:
    """The array `frames` of a file. Raises ValueError, naming it, where there is none."""
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return arrays["frames"]
    except Exception as error:  # zipfile's, zlib's and NumPy's
        raise ValueError(f"{file} cannot be read as frames ({error}); delete it and make it again") from error


def holds_frames(file: Path) -> bool:
    """Whether a file is one of frames rather than of events."""
    if file.suffix.lower() != ".npz" or not file.is_file():
        return False
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return "frames" in arrays.files
    except Exception:  # whoever reads it says what is wrong with it
        return False


def framing_of(folder: Path, first: PreparedFrames) -> Framing:
    """How the frames in a folder were cut, by its name and by the first of them.

    Raises ValueError where they are of another number or form than the name says.
    """
    said = _NAME.fullmatch(folder.name)
    assert said
    shape = read_frames(Path(first.path)).shape
    if len(shape) != 4 or shape[:2] != (int(said[1]), 2):
        raise ValueError(f"{first.path} holds frames {list(shape)}, where {folder.name} says [{said[1]}, 2, H, W]")
    return Framing("time" if said[2] == "time" else "number", shape[0], (shape[2], shape[3]))


def is_prepared(folder: Path) -> bool:
    """Whether a folder's name is one that SpikingJelly gives its frames."""
    return _NAME.fullmatch(folder.name) is not None
