"""`.aedat` files: which of the two versions one is stands in its first line."""

from pathlib import Path

from . import aedat2, aedat3
from .recording import Events

_READERS = {b"#!AER-DAT2.": aedat2.read, b"#!AER-DAT3.": aedat3.read}


def read(path: Path) -> Events:
    """The events of an AEDAT 2.0 or 3.1 file. Raises ValueError for any other version."""
    with path.open("rb") as file:
        first = file.readline(100)
    for version, read_version in _READERS.items():
        if first.startswith(version):
            return read_version(path)
    raise ValueError(f"its first line is {first[:20]!r}, not that of AEDAT 2.0 or 3.1")
