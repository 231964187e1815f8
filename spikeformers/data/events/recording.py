"""A recording of an event camera: its file, and the events in it."""

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

_FORMAT = 2  # version of readers and framing; changing it invalidates all cached clips

# File extensions, and the module in this folder with the `read` for each.
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
_MOST_OUTSIDE = 0.1  # a larger share of events outside the sensor means another camera, not a few faulty pixels


@dataclass(frozen=True)
class Recording:
    """One recording: a file, or its part with `start <= t < end` microseconds; of that, events `first` to `last`.

    With `transposed`, x and y of the file are swapped.
    """

    path: str
    start: int | None = None
    end: int | None = None
    first: int | None = None
    last: int | None = None  # exclusive
    transposed: bool = False

    def events(self) -> Events:
        """Its events. Raises what `read_events` raises, and ValueError if the part has none."""
        return self.within(self.opened())

    def opened(self) -> Events:
        """All events of its file. Raises what `read_events` raises."""
        t, x, y, p = read_events(self.path)
        return Events(t, y, x, p) if self.transposed else Events(t, x, y, p)

    def frames(self, framing: Framing) -> np.ndarray:
        """Its counts `[T, 2, H, W]`. Raises ValueError, naming the file, if they cannot be made."""
        return self.framed(framing, self.opened())

    def framed(self, framing: Framing, events: Events) -> np.ndarray:
        """Its counts, given the events of the whole file. A few events outside the sensor are dropped with a remark."""
        try:
            return framing(*self._on_sensor(framing, self.within(events)))
        except ValueError as error:
            raise ValueError(f"{self.path} cannot be cut into frames: {error}") from error

    def clip_file(self, cache: Path, framing: Framing) -> Path:
        """The file of its frames in a cache, named by a digest of everything that they depend on."""
        status = Path(self.path).stat()
        part = [self.start, self.end, self.first, self.last, self.transposed]
        source = [str(Path(self.path).absolute()), status.st_size, status.st_mtime_ns, *part]
        digest = hashlib.sha256(json.dumps([_FORMAT, framing.name, source]).encode()).hexdigest()
        return cache / framing.name / digest[:2] / f"{digest[2:34]}.npz"

    def keep(self, file: str) -> None:
        """Writes its events, not transposed, to `file`, a path without `.npz`."""
        np.savez_compressed(f"{file}.npz", **self.within(read_events(self.path))._asdict())

    def within(self, events: Events) -> Events:
        """The events of this recording, given those of the whole file."""
        first, last = 0, len(events.t)
        if self.start is not None:
            first = int(np.searchsorted(events.t, self.start))
        if self.end is not None:
            last = int(np.searchsorted(events.t, self.end))
        if first >= last:
            raise ValueError(f"there are no events in {self.start} <= t < {self.end} microseconds")
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
            detail = f"{outside} of {len(inside)}, such as x = {x}, y = {y}, on {height} x {width} pixels"
            remark(self.path, "dropped events outside the sensor", detail)
            events = Events(*(column[inside] for column in events))
        return events  # if too many are outside, the framing raises


def read_events(path: str | Path) -> Events:
    """The events of a file, sorted by time. The extension of its name selects the reader.

    Raises FileNotFoundError if the file is missing, ImportError if its format needs a library that is not installed,
    and ValueError, naming file and reason, if it is broken, empty or of an unknown format.
    """
    return _read(Path(path), lambda columns: to_events(columns, path))


def read_columns(path: str | Path) -> Columns:
    """The columns of a file in its own coding. Raises what `read_events` raises."""
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
    """Whether `read_events` reads files of this name. A text file must also be a table of events."""
    reader = _READERS.get(path.suffix.lower())
    return text.holds_events(path) if reader == "text" else reader is not None


def _reader_of(path: Path) -> Callable[[Path], Columns]:
    if path.suffix.lower() not in EXTENSIONS:
        raise ValueError(f"its name must end in one of {' '.join(EXTENSIONS)}")
    return import_module(f".{_READERS[path.suffix.lower()]}", __package__).read
