"""Recordings as clips of frames, kept on disk once they are made."""

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

from .frames import Framing
from .prepared import PreparedFrames, read_frames
from .progress import each
from .recording import Recording
from .remarks import Remark, collected, say


class Clips(Dataset):
    """A labelled set of recordings as clips; item i is (counts `[T, 2, H, W]`, label).

    With a `cache`, a folder, all clips are made first, by `workers` processes, and lie there from then on: one file a
    clip, under a name that tells the recording's place, size and date and all settings, and there only once it is
    whole. Whatever is there already is not made again. Without one, every clip is made anew each time it is asked for.
    Frames that lie ready only have their headers read first, unless `skip_broken`.

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
        self.items: list[tuple[Any, int]] = [recordings[i] for i in range(len(recordings))]
        self.skipped: tuple[str, ...] = ()
        prepared = any(isinstance(item, PreparedFrames) for item, _ in self.items)
        if cache is not None or skip_broken or prepared:
            broken = self._fill(workers, headers_only=prepared and not skip_broken)
            if broken and not skip_broken:
                reason = next(iter(broken.values()))
                raise ValueError(
                    f"{reason}; {len(broken)} of {len(self.items)} recordings are broken: mend or delete them, or "
                    "leave them out by skip_broken=True (--data.skip_broken true of train, --skip-broken of eval)"
                )
            self.items = [item for item in self.items if item[0] not in broken]
            self.skipped = tuple(recording.path for recording in broken)
            if broken:
                logging.getLogger("spikeformers").warning(
                    "left out %d broken recording(s), the first: %s", len(broken), next(iter(broken.values()))
                )

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        recording, label = self.items[index]
        frames = recording.frames(self.framing) if self.cache is None else read_frames(self.file_of(recording))
        return torch.from_numpy(frames.astype(np.float32)), label

    def _fill(self, workers: int, headers_only: bool) -> dict[Any, str]:
        """Makes what is missing, or only tries to where nothing is kept; which cannot be made, and why.

        What was put right in recordings is told to the log.
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
        """Where the clip of a recording lies."""
        assert self.cache is not None
        return recording.clip_file(self.cache, self.framing)


class _Making(Dataset):
    """Item i makes the clips of one file, and is reasons why not, "" where one went well, and remarks on the file."""

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
    """Puts a clip where it belongs in one move, so that one that is there is whole."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(file, f".{os.getpid()}") as unfinished, unfinished.open("wb") as opened:
            np.savez_compressed(opened, frames=frames)
    except OSError as error:
        raise ValueError(
            f"{file.parent.parent.parent} cannot be written ({error.strerror}): choose another folder for frames by "
            "data.cache, or make it writable"
        ) from error
