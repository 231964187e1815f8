"""A recording of an event camera: where it lies, and the events in it."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .frames import Framing

_FORMAT = 1  # of what readers and frames make of a file: another number makes every clip anew

# How files end, and the module of this folder whose `read` reads them.
_READERS = {
    ".bin": "atis_bin",
    ".aedat": "aedat",
    ".npy": "numpy_files",
    ".npz": "numpy_files",
    ".aedat4": "evlib_files",
    ".raw": "evlib_files",
    ".h5": "evlib_files",
    ".hdf5": "evlib_files",
}
EXTENSIONS = tuple(_READERS)


class Events(NamedTuple):
    """Four arrays `[N]`, in the order of time: the pixel at column x and row y grew brighter (p 1) or darker (p 0)."""

    t: np.ndarray  # int64, microseconds
    x: np.ndarray
    y: np.ndarray
    p: np.ndarray


@dataclass(frozen=True)
class Recording:
    """One recording: a file, or the part of it in `start <= t < end` microseconds."""

    path: str
    start: int | None = None
    end: int | None = None

    def events(self) -> Events:
        """Its events. Raises what `read_events` raises, and ValueError for a part in which there are none."""
        return self.within(self.opened())

    def opened(self) -> Events:
        """What is in its file, of which it may be a part. Raises what `read_events` raises."""
        return read_events(self.path)

    def frames(self, framing: Framing) -> np.ndarray:
        """Its counts `[T, 2, H, W]`. Raises ValueError, naming the file, where they cannot be made."""
        return self.framed(framing, self.opened())

    def framed(self, framing: Framing, events: Events) -> np.ndarray:
        """Its counts, given the events of the whole file."""
        try:
            return framing(*self.within(events))
        except ValueError as error:
            raise ValueError(f"{self.path} cannot be cut into frames: {error}") from error

    def clip_file(self, cache: Path, framing: Framing) -> Path:
        """Where its frames lie in a cache, by all that they depend on."""
        status = Path(self.path).stat()
        source = [str(Path(self.path).absolute()), status.st_size, status.st_mtime_ns, self.start, self.end]
        digest = hashlib.sha256(json.dumps([_FORMAT, framing.name, source]).encode()).hexdigest()
        return cache / framing.name / digest[:2] / f"{digest[2:34]}.npz"

    def keep(self, file: str) -> None:
        """Writes its events to `file`, which is given without its `.npz`."""
        np.savez_compressed(f"{file}.npz", **self.events()._asdict())

    def within(self, events: Events) -> Events:
        """Of the events of the whole file, those of this recording."""
        if self.start is None and self.end is None:
            return events
        first = 0 if self.start is None else np.searchsorted(events.t, self.start)
        last = len(events.t) if self.end is None else np.searchsorted(events.t, self.end)
        if first >= last:
            raise ValueError(f"there is no event in {self.start} <= t < {self.end} microseconds")
        return Events(*(column[first:last] for column in events))


def read_events(path: str | Path) -> Events:
    """The events of a file, in the order of time, by the reader that its name asks for.

    Raises FileNotFoundError where there is no such file, ImportError where its format needs a library that is not
    there, and ValueError, naming file and reason, for one that is broken, empty or of no known kind.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no recording {path}")
    try:
        events = _reader_of(path)(path)
    except ImportError:
        raise
    except Exception as error:  # NumPy, zipfile and evlib raise all kinds
        raise ValueError(f"{path} cannot be read as a recording ({' '.join(str(error).split())})") from error
    if not len(events.t):
        raise ValueError(f"{path} holds no events")
    if (np.diff(events.t) < 0).any():
        order = np.argsort(events.t, kind="stable")
        events = Events(*(column[order] for column in events))
    return events


def is_recording(path: Path) -> bool:
    """Whether a file's name is one that `read_events` takes."""
    return path.suffix.lower() in EXTENSIONS and not path.name.startswith(".")  # macOS leaves "._a.bin" beside "a.bin"


def _reader_of(path: Path) -> Callable[[Path], Events]:
    if path.suffix.lower() not in EXTENSIONS:
        raise ValueError(f"its name ends in none of {' '.join(EXTENSIONS)}")
    return import_module(f".{_READERS[path.suffix.lower()]}", __package__).read
