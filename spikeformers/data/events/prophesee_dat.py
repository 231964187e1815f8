"""Prophesee's `.dat`, as in N-CARS and the Gen1 sets: lines that begin with %, two bytes, then 8 bytes per event.

The format is described at docs.prophesee.ai/stable/data/file_formats/dat.html.
"""

import re
from pathlib import Path

import numpy as np

from .columns import Columns
from .headers import sensor_in

_HEADER = re.compile(rb"(?:%[^\n]*\n)*")
_CHANGES = (0x00, 0x0C)  # two codes for the same kind of events
_BITS = {True: (9, 8), False: (14, 14)}  # bits of x and y, before version 2 and since


def read(path: Path) -> Columns:
    """The events of a file. Raises ValueError for events of another kind, and if the file ends within one."""
    raw = path.read_bytes()
    header = _HEADER.match(raw)
    assert header
    start = header.end()
    if not start or len(raw) < start + 2:
        raise ValueError("it has no header of lines that begin with %: it is cut off, or not a file of Prophesee")
    kind, size = raw[start], raw[start + 1]
    if kind not in _CHANGES or size != 8:
        raise ValueError(f"its events are of kind {kind} with {size} bytes: only change events of 8 bytes are read")
    body = raw[start + 2 :]
    if len(body) % 8:
        raise ValueError(f"its events take {len(body)} bytes, which is not a multiple of 8: it is cut off")
    t, word = np.frombuffer(body, "<u4").reshape(-1, 2).T.astype(np.int64)
    version = re.search(rb"Version (\d+)", header[0])
    x_bits, y_bits = _BITS[version is None or int(version[1]) < 2]
    x, y = word & (1 << x_bits) - 1, word >> x_bits & (1 << y_bits) - 1
    return Columns(t, x, y, word >> x_bits + y_bits & 1, sensor_in(header[0]))
