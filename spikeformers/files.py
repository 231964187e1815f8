"""Writing files so that each is there whole, or as it was before."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


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
