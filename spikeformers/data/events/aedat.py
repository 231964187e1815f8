"""`.aedat` files. The first line of the header gives the version, a later one the camera."""

import re
from pathlib import Path

from . import aedat2, aedat3
from .columns import Columns

_READERS = {b"#!AER-DAT2.": aedat2.read, b"#!AER-DAT3.": aedat3.read}
_HEADER = re.compile(rb"(?:#[^\x00-\x08\x0a-\x0c\x0e-\x1f]*\n)*")  # lines of text only: an event may begin with # too
_CHIP = re.compile(rb"(?:AEChip|Source\W*\d+):[^\n]*?(\w+)\s*$", re.MULTILINE)
_CAMERA = re.compile(r"(?:DVS|DAVIS)\d+")  # without the suffix of a variant, such as DAVIS240C


def read(path: Path) -> Columns:
    """The events of an AEDAT 2.0 or 3.1 file. Raises ValueError for any other version."""
    raw = path.read_bytes()
    for version, read_version in _READERS.items():
        if raw.startswith(version):
            header = _HEADER.match(raw)
            assert header
            return read_version(raw, header.end(), _camera_in(header[0]))
    first = raw[:100].split(b"\n")[0][:20]
    raise ValueError(f"its first line is {first!r}, not that of AEDAT 2.0 or 3.1: convert it to one of these")


def _camera_in(header: bytes) -> str:
    """The camera that a header names, or ""."""
    chip = _CHIP.search(header)
    name = chip[1].decode().upper().replace("TMPDIFF", "DVS") if chip else ""  # the old name of the DVS128
    camera = _CAMERA.match(name)
    return camera[0] if camera else name
