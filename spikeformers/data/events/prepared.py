"""Frames made by SpikingJelly, in a folder `frames_number_<T>_split_by_<number or time>`, used unchanged."""

import re
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .frames import Framing

_NAME = re.compile(r"frames_number_(\d+)_split_by_(number|time)")
_BY_DURATION = re.compile(r"duration_\d+")


@dataclass(frozen=True)
class PreparedFrames:
    """One recording as frames `[T, 2, H, W]`, the array `frames` of an `.npz` file."""

    path: str

    def opened(self) -> np.ndarray:
        """The contents of its file. Raises ValueError, naming the file, if it is broken."""
        return read_frames(Path(self.path))

    def framed(self, framing: Framing, frames: np.ndarray) -> np.ndarray:
        """Its frames, given the contents of its file.

        Raises ValueError, naming the file, if their shape or type is wrong, or a value is not finite.
        """
        self._check(framing, frames.shape, frames.dtype)
        if wrong := int(frames.size - np.isfinite(frames).sum()):
            raise ValueError(f"{self.path} holds {wrong} values that are not finite: create it again")
        return frames

    def frames(self, framing: Framing) -> np.ndarray:
        """Its frames `[T, 2, H, W]`."""
        return self.framed(framing, self.opened())

    def check(self, framing: Framing) -> None:
        """Raises ValueError, naming the file, if its header is missing or states another shape or type."""
        self._check(framing, *_header_of(Path(self.path)))

    def keep(self, file: str) -> None:
        """Copies it to `file`, a path without extension."""
        shutil.copy(self.path, f"{file}.npz")

    def _check(self, framing: Framing, shape: tuple[int, ...], dtype: np.dtype) -> None:
        asked = (framing.time_steps, 2, *framing.sensor)
        if shape != asked or dtype.kind not in "biuf":
            raise ValueError(f"{self.path} holds frames {list(shape)} of {dtype}, but others have {list(asked)}")


def read_frames(file: Path) -> np.ndarray:
    """The array `frames` of a file. Raises ValueError, naming the file, if it has none."""
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return arrays["frames"]
    except Exception as error:  # zipfile's, zlib's and NumPy's
        raise _broken(file, error) from error


def _header_of(file: Path) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type of the array `frames` of a file, from its header alone. Raises as `read_frames` does."""
    try:
        with zipfile.ZipFile(file) as arrays, arrays.open("frames.npy") as array:
            major, _ = np.lib.format.read_magic(array)
            read = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(array)
            return shape, dtype
    except Exception as error:
        raise _broken(file, error) from error


def _broken(file: Path, error: Exception) -> ValueError:
    return ValueError(f"{file} cannot be read as frames ({error}): delete it and create it again")


def holds_frames(file: Path) -> bool:
    """Whether a file holds frames rather than events."""
    if file.suffix.lower() != ".npz" or not file.is_file():
        return False
    try:
        with zipfile.ZipFile(file) as arrays:
            return "frames.npy" in arrays.namelist()
    except Exception:  # the reader reports what is wrong
        return False


def framing_of(folder: Path, first: PreparedFrames) -> Framing:
    """How the frames in a folder were cut, from its name and its first file.

    Raises ValueError if the number or shape of the frames contradicts the name.
    """
    name = _NAME.fullmatch(folder.name)
    assert name
    shape, _ = _header_of(Path(first.path))
    if len(shape) != 4 or shape[:2] != (int(name[1]), 2):
        raise ValueError(
            f"{first.path} holds frames {list(shape)}, but {folder.name} means [{name[1]}, 2, H, W]: rename the folder"
        )
    return Framing("time" if name[2] == "time" else "number", shape[0], (shape[2], shape[3]))


def is_prepared(folder: Path) -> bool:
    """Whether a folder has a name that SpikingJelly gives to frames.

    Raises ValueError for its folders of frames of fixed duration, whose number differs between recordings.
    """
    if _BY_DURATION.fullmatch(folder.name):
        raise ValueError(
            f"{folder} holds frames of fixed duration, whose number differs between recordings, but a model needs the "
            "same number of each: give the recordings, with data.frames_by time, or a folder "
            "frames_number_<T>_split_by_<number or time>"
        )
    return _NAME.fullmatch(folder.name) is not None
