"""A recording of an event camera: where it lies, and the events in it."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TypeVar

import numpy as np

from . import text
from .columns import Columns, Events, to_events
from .frames import Framing
from .remarks import remark

_FORMAT = 2  # of what readers and frames make of a file: another number makes every clip anew

# How files end, and the module of this folder whose `read` reads them.
_READERS = {
    ".bin": "atis_bin",
    ".aedat": "aedat",
    ".npy": "numpy_files",
    ".npz": "numpy_files",
    ".dat": "prophesee_dat",
    ".es": "event_stream",
    ".mat": "matlab",
    ".txt": "text",
    ".csv": "text",
    ".aedat4": "evlib_files",
    ".raw": "evlib_files",
    ".h5": "hdf5",
    ".hdf5": "hdf5",
}
EXTENSIONS = tuple(_READERS)
_Made = TypeVar("_Made", Events, Columns)
_MOST_OUTSIDE = 0.1  # of a recording's events: more are no faults of a few pixels, but another camera's


@dataclass(frozen=True)
class Recording:
    """One recording: a file, or the part of it in `start <= t < end` microseconds; of that, events `first` to `last`.

    A transposed one has x and y swapped against its file.
    """

    path: str
    start: int | None = None
    end: int | None = None
    first: int | None = None
    last: int | None = None  # the first that does not belong to it
    transposed: bool = False

    def events(self) -> Events:
        """Its events. Raises what `read_events` raises, and ValueError for a part in which there are none."""
        return self.within(self.opened())

    def opened(self) -> Events:
        """What is in its file, of which it may be a part. Raises what `read_events` raises."""
        t, x, y, p = read_events(self.path)
        return Events(t, y, x, p) if self.transposed else Events(t, x, y, p)

    def frames(self, framing: Framing) -> np.ndarray:
        """Its counts `[T, 2, H, W]`. Raises ValueError, naming the file, where they cannot be made."""
        return self.framed(framing, self.opened())

    def framed(self, framing: Framing, events: Events) -> np.ndarray:
        """Its counts, given the events of the whole file; a few outside the sensor are left out, which is remarked."""
        try:
            return framing(*self._on_sensor(framing, self.within(events)))
        except ValueError as error:
            raise ValueError(f"{self.path} cannot be cut into frames: {error}") from error

    def clip_file(self, cache: Path, framing: Framing) -> Path:
        """Where its frames lie in a cache, by all that they depend on."""
        status = Path(self.path).stat()
        part = [self.start, self.end, self.first, self.last, self.transposed]
        source = [str(Path(self.path).absolute()), status.st_size, status.st_mtime_ns, *part]
        digest = hashlib.sha256(json.dumps([_FORMAT, framing.name, source]).encode()).hexdigest()
        return cache / framing.name / digest[:2] / f"{digest[2:34]}.npz"

    def keep(self, file: str) -> None:
        """Writes its events, as its file has them, to `file`, which is given without its `.npz`."""
        np.savez_compressed(f"{file}.npz", **self.within(read_events(self.path))._asdict())

    def within(self, events: Events) -> Events:
        """Of the events of the whole file, those of this recording."""
        first, last = 0, len(events.t)
        if self.start is not None:
            first = int(np.searchsorted(events.t, self.start))
        if self.end is not None:
            last = int(np.searchsorted(events.t, self.end))
        if first >= last:
            raise ValueError(f"there is no event in {self.start} <= t < {self.end} microseconds")
        part = slice(first + (self.first or 0), last if self.last is None else min(last, first + self.last))
        return Events(*(column[part] for column in events))

    def _on_sensor(self, framing: Framing, events: Events) -> Events:
        inside = framing.holds(events.x, events.y)
        if inside.all():
            return events
        outside = len(inside) - int(inside.sum())
        if outside <= _MOST_OUTSIDE * len(inside):
            height, width = framing.sensor
            x, y = events.x[~inside][0], events.y[~inside][0]
            detail = f"{outside} of {len(inside)}, as at x = {x}, y = {y}, not on {height} x {width} pixels"
            remark(self.path, "events outside the sensor, left out", detail)
            events = Events(*(column[inside] for column in events))
        return events  # or else the framing says what is wrong


def read_events(path: str | Path) -> Events:
    """The events of a file, in the order of time, by the reader that its name asks for.

    Raises FileNotFoundError where there is no such file, ImportError where its format needs a library that is not
    there, and ValueError, naming file and reason, for one that is broken, empty or of no known kind.
    """
    return _read(Path(path), lambda columns: to_events(columns, path))


def read_columns(path: str | Path) -> Columns:
    """The columns of a file as they are coded there. Raises what `read_events` raises."""
    return _read(Path(path), lambda columns: columns)


def _read(path: Path, made_of: Callable[[Columns], _Made]) -> _Made:
    if not path.is_file():
        raise FileNotFoundError(f"there is no recording {path}")
    try:
        made = made_of(_reader_of(path)(path))
    except ImportError:
        raise
    except Exception as error:  # NumPy, zipfile and evlib raise all kinds
        raise ValueError(f"{path} cannot be read as a recording ({' '.join(str(error).split())})") from error
    if not len(made.t):
        raise ValueError(f"{path} holds no events")
    return made


def is_recording(path: Path) -> bool:
    """Whether a file's name is one that `read_events` takes; of text, also whether it is a table of events."""
    reader = _READERS.get(path.suffix.lower())
    return text.holds_events(path) if reader == "text" else reader is not None


def _reader_of(path: Path) -> Callable[[Path], Columns]:
    if path.suffix.lower() not in EXTENSIONS:
        raise ValueError(f"its name ends in none of {' '.join(EXTENSIONS)}")
    return import_module(f".{_READERS[path.suffix.lower()]}", __package__).read
