"""Writing files atomically, checking early that they can be written, and locking folders."""

import errno
import inspect
import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

logger = logging.getLogger("spikeformers")

LOCK = ".lock"
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}  # what network disks without locks answer


def short_name(text: str, most: int = 200) -> str:
    """Text for a file's name, at most `most` bytes of UTF-8: file systems take 255, and an ending follows."""
    return text.encode("utf-8", "ignore")[:most].decode("utf-8", "ignore").replace("/", "-")


@contextmanager
def atomic_path(file: Path, writer: str = "") -> Iterator[Path]:
    """A temporary path beside `file`, renamed to `file` at the end. After an error `file` is unchanged.

    If several processes may write one file at once, each needs its own `writer`; the last to finish wins.
    """
    unfinished = file.with_name(f"{file.name}{writer}.unfinished")
    try:
        yield unfinished
        unfinished.replace(file)
    finally:
        with suppress(OSError):  # the folder may be missing or read-only
            unfinished.unlink(missing_ok=True)


def atomic_write(file: Path, text: str) -> None:
    with atomic_path(file) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def check_output(option: str, path: str | Path | None, *, folder: bool = False, room: int = 0) -> None:
    """Checks, before any work, that a file at `path`, or files in it if it is a `folder`, can be written.

    Does nothing if `path` is None. `room` is the number of bytes that must be free.

    Raises ValueError, naming the option that gave the path, if it cannot be written.
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
        with suppress(FileNotFoundError):  # and no other: the name may be too long
            (place / (path.name if folder else f"{path.name}.unfinished")).stat()
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
    """Locks a folder against other processes. A killed process releases its lock. On a disk without locks, warns.

    Raises ValueError with the message `otherwise` if another process holds the lock.
    """
    from filelock import FileLock, Timeout

    hard: dict[str, Any] = {"fallback_to_soft": False}  # a marker file would outlive a killed process
    known = inspect.signature(FileLock.__init__).parameters
    lock = FileLock(folder / LOCK, timeout=0, **(hard if hard.keys() <= known.keys() else {}))
    try:
        lock.acquire()
    except Timeout:
        raise ValueError(otherwise) from None
    except (NotImplementedError, OSError) as error:  # the former of older versions
        if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
            raise
        logger.warning("%s is on a disk without locks: make sure that no other process uses it", folder)
    try:
        yield
    finally:
        lock.release()


@contextmanager
def made_folder(folder: Path) -> Iterator[Path]:
    """Makes a folder and those above it; the new ones that are still empty are removed if what is inside fails."""
    new = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield folder
    except BaseException:
        for place in new:
            if any(place.iterdir()):
                break
            place.rmdir()
        raise
