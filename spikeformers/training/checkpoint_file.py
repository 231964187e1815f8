"""Checkpoint files that are whole or not there, and finding the newest that can be trusted."""

import logging
import os
import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.fabric.utilities.rank_zero import rank_zero_only

from spikeformers.files import atomic_path

logger = logging.getLogger("spikeformers")

LAST = "last.ckpt"


class WholeFiles(TorchCheckpointIO):
    """Lightning's way of writing a checkpoint, except that a file appears under its name when all of it is on disk.

    Lightning writes where temporary files go, which may be another disk, and copies from there: a process killed
    meanwhile leaves half a file. A disk that is full leaves nothing here, and raises OSError.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with atomic_path(path) as unfinished, unfinished.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
        except RuntimeError as error:  # torch's way to say that it could not write
            raise OSError(f"{path} cannot be written: is its disk full?") from error


def is_whole(file: Path) -> bool:
    """Whether a checkpoint is all there, by the checksums inside, which reading it would not compare."""
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.testzip() is None
    except (OSError, zipfile.BadZipFile):
        return False


def earlier(folder: Path, back: int) -> Path:
    """The file of the last checkpoint but `back`."""
    return folder / (f"last-{back}.ckpt" if back else LAST)


def newest_whole(folder: Path) -> Path | None:
    """The newest checkpoint of a run that is not damaged; None where the run has not saved any.

    Warns of those passed over. Raises ValueError where all are damaged.
    """
    there = sorted(folder.glob("last-*.ckpt"), key=lambda file: int(file.stem.partition("-")[2]))
    there = [file for file in (folder / LAST, *there) if file.is_file()]
    for i, file in enumerate(there):
        if is_whole(file):
            for damaged in there[:i]:
                logger.warning("%s is damaged: going back to %s, saved before it", damaged, file)
            return file
    if there:
        raise ValueError(f"{there[0]} is damaged, as is all that was saved before: start anew under another --run NAME")
    return None


def shift(folder: Path, keep: int) -> None:
    """Makes room for a new last checkpoint: the last becomes the one before, and so on; `keep` of those stay."""
    for back in range(keep, 0, -1):
        if (newer := earlier(folder, back - 1)).is_file():
            newer.replace(earlier(folder, back))


def set_aside_newer(file: Path) -> None:
    """Renames the checkpoints that are newer than this one of a run, all damaged: they are no longer in the way."""
    for back in range(99):
        if (newer := earlier(file.parent, back)) == file:
            return
        if rank_zero_only.rank == 0 and newer.is_file():
            newer.replace(newer.with_name(newer.name + ".damaged"))
