"""Writing files so that each is there whole, or as it was before; and finding out early that they can be written."""

import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

logger = logging.getLogger("spikeformers")

LOCK = ".lock"


@contextmanager
def atomic_path(file: Path, writer: str = "") -> Iterator[Path]:
    """A path beside `file` to write to, which takes its name at the end. After an error `file` is as it was.

    Where several processes may write one file at once, each gives its own `writer`; the last to finish wins.
    """
    unfinished = file.with_name(f"{file.name}{writer}.unfinished")
    try:
        yield unfinished
        unfinished.replace(file)
    finally:
        with suppress(OSError):  # a folder that takes no file gives none back
            unfinished.unlink(missing_ok=True)


def atomic_write(file: Path, text: str) -> None:
    with atomic_path(file) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def check_output(option: str, path: str | Path | None, *, folder: bool = False, room: int = 0) -> None:
    """Tries, before any work, whether a file can be written to `path`, or a folder's files where `folder` says so.

    None is nothing to write. `room` is how many bytes there should be for it.

    Raises ValueError, in one line with the option that gave the path, where it cannot be.
    """
    if path is None:
        return
    path, what = Path(path), "folder" if folder else "file"
    place = path if folder else path.parent
    try:
        if not folder and path.is_dir():
            raise IsADirectoryError(21, "Is a directory")
        if not folder and not place.is_dir():
            raise FileNotFoundError(2, f"there is no folder {place}")
        while not place.exists():
            place = place.parent
        with tempfile.TemporaryFile(dir=place):
            pass
        if not folder and path.exists():
            path.open("a").close()
    except OSError as error:
        raise ValueError(f"{path} cannot be written ({error.strerror}): choose another {what} with {option}") from error
    if (free := shutil.disk_usage(place).free) < room:
        raise ValueError(
            f"{path} needs {room / 1e6:,.0f} MB, and its disk has {free / 1e6:,.0f} MB free: make room, or choose "
            f"another {what} with {option}"
        )


@contextmanager
def held(folder: Path, otherwise: str) -> Iterator[None]:
    """Holds a folder, so that no other process that asks for it gets it meanwhile; one that is killed lets it go.

    Raises ValueError, with `otherwise`, where another process holds it.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise ValueError(otherwise) from None
    except NotImplementedError:  # some network disks have no locks
        logger.warning("%s lies on a disk without locks: see to it that no other process works in it", folder)
    try:
        yield
    finally:
        lock.release()
