"""Cutting long recordings into samples: windows of a fixed length at a fixed stride."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from .columns import Events
from .folder import Recordings
from .progress import each
from .recording import Recording
from .remarks import collected

_FEWEST = 32  # a window in time with fewer events is dropped: it shows nothing and may have fewer events than frames


@dataclass(frozen=True)
class Window:
    """Windows of `length`, a `stride` apart, both in microseconds or, with `of_events`, in events.

    A call with a recording and its file's events returns its windows as recordings: all that fit inside it, without
    nearly empty ones, or the recording itself if none remains.
    """

    length: int
    stride: int
    of_events: bool = False

    def __call__(self, recording: Recording, opened: Events) -> list[Recording]:
        t = recording.within(opened).t
        begin, end = self._span(t)
        if end - begin < self.length:
            return [recording]
        starts = range(begin, end - self.length + 1, self.stride)
        if self.of_events:
            return [replace(recording, first=start, last=start + self.length) for start in starts]
        counts = np.searchsorted(t, [start + self.length for start in starts]) - np.searchsorted(t, list(starts))
        windows = [
            replace(recording, start=start, end=start + self.length)
            for start, count in zip(starts, counts, strict=True)
            if count >= _FEWEST
        ]
        return windows or [recording]

    def most(self, opened: Events) -> int:
        """How many windows a file's events may be cut into, nearly empty ones too, without cutting them."""
        begin, end = self._span(opened.t)
        return max(1, (end - begin - self.length) // self.stride + 1)

    def _span(self, t: np.ndarray) -> tuple[int, int]:
        return (0, len(t)) if self.of_events else (int(t[0]), int(t[-1]) + 1)


def window_of(settings: Mapping[str, Any]) -> Window | None:
    """The windows in data settings or in a model's preprocessing, or None.

    Raises ValueError if both kinds are set, or if a length or stride is not above 0.
    """
    in_seconds, in_events = settings.get("window"), settings.get("window_events")
    if in_seconds and in_events:
        raise ValueError("data.window and data.window_events cannot be combined: leave one out")
    if not (in_seconds or in_events):
        return None
    asked: Any = in_seconds or in_events
    length, stride = (round(value * (1e6 if in_seconds else 1)) for value in asked)
    if length < 1 or stride < 1:
        name = "window" if in_seconds else "window_events"
        raise ValueError(f"data.{name} {list(asked)} is not [length, stride], both above 0: set it as in [1, 1]")
    return Window(length, stride, bool(in_events))


def cut_all(recordings: Any, window: Window, workers: int) -> Recordings:
    """The windows of labelled recordings, in order. Unreadable recordings stay, and raise when their clip is made."""
    parts = enumerate(each(_Cutting(recordings, window), "cutting recordings", workers))
    return Recordings([(part, recordings[i][1]) for i, found in parts for part in found])


class _Cutting(Dataset):
    """Item i is the windows of recording i."""

    def __init__(self, recordings: Any, window: Callable[[Recording, Events], list[Recording]]):
        self.recordings, self.window = recordings, window

    def __len__(self) -> int:
        return len(self.recordings)

    def __getitem__(self, index: int) -> list[Recording]:
        recording = self.recordings[index][0]
        with collected():  # making frames logs the remarks
            try:
                return self.window(recording, recording.opened())
            except (ValueError, OSError, ImportError):
                return [recording]
