"""Recordings as clips of frames, with a cache on disk."""

import itertools
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from spikeformers.files import atomic_path

from ..image_file import SKIP_BROKEN
from .frames import Framing
from .prepared import PreparedFrames, read_frames
from .progress import each
from .recording import Recording
from .remarks import Remark, collected, say


class Clips(Dataset):
    """A labelled set of recordings as clips; item i is (counts `[T, 2, H, W]`, label).

    With a `cache` folder, `workers` processes make all missing clips first, one file per clip. The file's name depends
    on the recording's path, size and date and on all settings. Files are written atomically. Without a cache, a clip is
    made each time it is read. For prepared frames only the headers are checked first, unless `skip_broken` is set.

    Recordings that cannot be read raise ValueError, naming the first. With `skip_broken` they are skipped with a
    warning, and `skipped` lists them.
    """

    def __init__(
        self,
        recordings: Any,
        framing: Framing,
        *,
        cache: Path | None,
        workers: int = 0,
        skip_broken: bool = False,
    ):
        self.framing, self.cache = framing, cache
        self.items: list[tuple[Any, int]] = [recordings[i] for i in range(len(recordings))]
        self.skipped: tuple[str, ...] = ()
        prepared = any(isinstance(item, PreparedFrames) for item, _ in self.items)
        if cache is not None or skip_broken or prepared:
            broken = self._fill(workers, headers_only=prepared and not skip_broken)
            if broken and not skip_broken:
                reason = next(iter(broken.values()))
                raise ValueError(
                    f"{reason}; {len(broken)} of {len(self.items)} recordings are broken: replace or delete them, or "
                    f"skip them with {SKIP_BROKEN}"
                )
            self.items = [item for item in self.items if item[0] not in broken]
            self.skipped = tuple(recording.path for recording in broken)
            if broken:
                logging.getLogger("spikeformers").warning(
                    "skipped %d broken recording(s), the first: %s", len(broken), next(iter(broken.values()))
                )

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        recording, label = self.items[index]
        frames = recording.frames(self.framing) if self.cache is None else read_frames(self.file_of(recording))
        return torch.from_numpy(frames.astype(np.float32)), label

    def _fill(self, workers: int, headers_only: bool) -> dict[Any, str]:
        """Makes all missing clips, or only tries to if there is no cache. Returns those that failed, with the reason.

        Corrections made in reading are logged.
        """
        missing = [recording for recording, _ in self.items if not (self.cache and self.file_of(recording).is_file())]
        if not missing:
            return {}
        by_file = [list(group) for _, group in itertools.groupby(missing, lambda recording: recording.path)]
        making = _Making(self, by_file, headers_only)
        reasons, remarks = zip(*each(making, "making frames", workers), strict=True)
        say([remark for of_file in remarks for remark in of_file], len(by_file))
        made = zip(itertools.chain(*by_file), itertools.chain(*reasons), strict=True)
        return {item: why for item, why in made if why}

    def file_of(self, recording: Recording) -> Path:
        """The cached file of a recording's clip."""
        assert self.cache is not None
        return recording.clip_file(self.cache, self.framing)


class _Making(Dataset):
    """Item i makes the clips of one file. It is a reason for failure per clip, "" for success, and remarks."""

    def __init__(self, clips: Clips, by_file: list[list[Any]], headers_only: bool):
        self.clips, self.by_file, self.headers_only = clips, by_file, headers_only

    def __len__(self) -> int:
        return len(self.by_file)

    def __getitem__(self, index: int) -> tuple[list[str], list[Remark]]:
        recordings = self.by_file[index]
        with collected() as remarks:
            try:
                if self.headers_only:
                    recordings[0].check(self.clips.framing)
                    return [""] * len(recordings), remarks
                opened = recordings[0].opened()
            except (ValueError, OSError, ImportError) as error:
                return [str(error)] * len(recordings), remarks
            return [self._made(recording, opened) for recording in recordings], remarks

    def _made(self, recording: Any, opened: Any) -> str:
        try:
            frames = recording.framed(self.clips.framing, opened)
        except ValueError as error:
            return str(error)
        if self.clips.cache is not None:
            _write(self.clips.file_of(recording), frames)
        return ""


def _write(file: Path, frames: np.ndarray) -> None:
    """Writes a clip atomically."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(file, f".{os.getpid()}") as unfinished, unfinished.open("wb") as opened:
            np.savez_compressed(opened, frames=frames)
    except OSError as error:
        raise ValueError(
            f"{file.parent.parent.parent} cannot be written ({error.strerror}): choose another folder for frames with "
            "data.cache, or make it writable"
        ) from error
