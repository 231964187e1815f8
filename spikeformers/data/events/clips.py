"""Recordings as clips of frames, kept on disk once they are made."""

import hashlib
import itertools
import json
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from .frames import Framing
from .recording import Recording, read_events

_FORMAT = 1  # of what readers and framing give: another number makes every clip anew


class Clips(Dataset):
    """A labelled set of recordings as clips; item i is (counts `[T, 2, H, W]`, label).

    With a `cache`, a folder, all clips are made first, by `workers` processes, and lie there from then on: one file a
    clip, under a name that tells the recording's place, size and date and all settings, and there only once it is
    whole. Whatever is there already is not made again. Without one, every clip is made anew each time.

    Raises ValueError for recordings that cannot be read, naming the first, or, with `skip_broken`, leaves them out and
    says how many: `skipped` names them.
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
        self.items: list[tuple[Recording, int]] = [recordings[i] for i in range(len(recordings))]
        self.skipped: tuple[str, ...] = ()
        if cache is not None:
            broken = self._fill(workers)
            if broken and not skip_broken:
                path, reason = next(iter(broken.items()))
                said = reason if path in reason else f"{path}: {reason}"
                raise ValueError(
                    f"{len(broken)} of {len(self.items)} recordings cannot be used, the first: {said}; mend or delete "
                    "it, or leave such out by skip_broken=True (--data.skip_broken true on the command line)"
                )
            self.items = [item for item in self.items if item[0].path not in broken]
            self.skipped = tuple(broken)
            if broken:
                logging.getLogger("spikeformers").warning(
                    "left out %d broken recording(s), the first: %s", len(broken), next(iter(broken.values()))
                )

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        recording, label = self.items[index]
        if self.cache is None:
            frames = self.framing(recording.events())
        else:
            with np.load(self._file_of(recording)) as file:
                frames = file["frames"]
        return torch.from_numpy(frames.astype(np.float32)), label

    def _fill(self, workers: int) -> dict[str, str]:
        """Makes what is missing; path and reason of what cannot be made."""
        missing = [recording for recording, _ in self.items if not self._file_of(recording).is_file()]
        if not missing:
            return {}
        by_file = [list(group) for _, group in itertools.groupby(missing, lambda recording: recording.path)]
        making = DataLoader(_Making(self, by_file), batch_size=None, num_workers=workers)  # pyright: ignore
        return {path: reason for path, reason in _shown(making, len(by_file)) if reason}

    def _file_of(self, recording: Recording) -> Path:
        assert self.cache is not None
        how = [_FORMAT, self.framing.by, self.framing.time_steps, *self.framing.sensor]
        status = Path(recording.path).stat()
        which = [
            str(Path(recording.path).absolute()),
            status.st_size,
            status.st_mtime_ns,
            recording.start,
            recording.end,
        ]
        digest = hashlib.sha256(json.dumps([how, which]).encode()).hexdigest()
        height, width = self.framing.sensor
        return (
            self.cache / f"{self.framing.time_steps}x{height}x{width}-by-{self.framing.by}" / digest[:2] / digest[2:34]
        )


class _Making(Dataset):
    """Item i makes the clips of one file, and is its path and, where that went wrong, the reason."""

    def __init__(self, clips: Clips, by_file: list[list[Recording]]):
        self.clips, self.by_file = clips, by_file

    def __len__(self) -> int:
        return len(self.by_file)

    def __getitem__(self, index: int) -> tuple[str, str]:
        recordings = self.by_file[index]
        path = recordings[0].path
        try:
            events = read_events(path)
            made = [self.clips.framing(recording.within(events)) for recording in recordings]
        except (ValueError, OSError, ImportError) as error:
            return path, str(error)
        for recording, frames in zip(recordings, made, strict=True):
            _write(self.clips._file_of(recording), frames)
        return path, ""


def _write(file: Path, frames: np.ndarray) -> None:
    """Puts a clip where it belongs in one move, so that one that is there is whole."""
    unfinished = file.with_name(f"{file.name}.{os.getpid()}.unfinished")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("wb") as opened:
            np.savez_compressed(opened, frames=frames)
        unfinished.replace(file)
    except OSError as error:
        raise ValueError(
            f"{file.parent.parent.parent} cannot be written ({error.strerror}): choose another folder for frames by "
            "data.cache"
        ) from error
    finally:
        unfinished.unlink(missing_ok=True)


def _shown(making: DataLoader, files: int) -> Iterator[tuple[str, str]]:
    from rich.console import Console
    from rich.progress import track

    console = Console(file=sys.stderr)
    yield from track(making, "making frames", files, console=console, transient=True, disable=not console.is_terminal)
