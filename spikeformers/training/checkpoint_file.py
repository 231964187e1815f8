"""Writing checkpoint files atomically, and finding a run's newest undamaged one."""

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
    """Writes checkpoints as Lightning does, but atomically: a file gets its name once all of it is on disk.

    Lightning writes to the folder for temporary files, perhaps on another disk, and copies: a process killed meanwhile
    leaves half a file. Here a full disk leaves no file and raises OSError.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with atomic_path(path) as unfinished, unfinished.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
        except RuntimeError as error:  # what torch raises when it cannot write
            raise OSError(f"{path} cannot be written: is its disk full?") from error


def is_whole(file: Path) -> bool:
    """Whether a checkpoint is complete, by the checksums inside it, which torch does not compare on loading."""
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.testzip() is None
    except (OSError, zipfile.BadZipFile):
        return False


def earlier(folder: Path, back: int) -> Path:
    """The file of the checkpoint that is `back` places before the last."""
    return folder / (f"last-{back}.ckpt" if back else LAST)


def newest_whole(folder: Path) -> Path | None:
    """A run's newest undamaged checkpoint, or None if the run has saved none.

    Warns about each damaged one that it skips. Raises ValueError if all are damaged.
    """
    there = sorted(folder.glob("last-*.ckpt"), key=lambda file: int(file.stem.partition("-")[2]))
    there = [file for file in (folder / LAST, *there) if file.is_file()]
    for i, file in enumerate(there):
        if is_whole(file):
            for damaged in there[:i]:
                logger.warning("%s is damaged: resuming from %s, saved before it", damaged, file)
            return file
    if there:
        raise ValueError(f"{there[0]} and all checkpoints before it are damaged: start anew under another --run NAME")
    return None


def shift(folder: Path, keep: int) -> None:
    """Renames the last checkpoint to `last-1.ckpt`, that one to `last-2.ckpt`, and so on up to `keep`."""
    for back in range(keep, 0, -1):
        if (newer := earlier(folder, back - 1)).is_file():
            newer.replace(earlier(folder, back))


def set_aside_newer(file: Path) -> None:
    """Renames a run's checkpoints that are newer than `file`, all damaged, so that they are not tried again."""
    for back in range(99):
        if (newer := earlier(file.parent, back)) == file:
            return
        if rank_zero_only.rank == 0 and newer.is_file():
            newer.replace(newer.with_name(newer.name + ".damaged"))
