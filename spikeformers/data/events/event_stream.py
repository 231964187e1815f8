"""Event Stream, `.es`: a header with the sensor's size, then events of 5 bytes, with times relative to the last one.

The format, of version 2, is described at github.com/neuromorphic-paris/event_stream.
"""

import re
import struct
from pathlib import Path

import numpy as np

from .columns import Columns

_HEADER = struct.Struct("<12s3BBHH")  # signature, version, kind of events, width and height
_DVS, _ATIS = 1, 2
# An event, or a single byte for time that does not fit into one, or padding.
_WORDS = {
    _DVS: re.compile(rb"[\xfe\xff]|[^\xfe\xff].{4}", re.DOTALL),
    _ATIS: re.compile(rb"[\xfc-\xff]|[^\xfc-\xff].{4}", re.DOTALL),
}


def read(path: Path) -> Columns:
    """The change events of a file. Brightness measurements of an ATIS are skipped.

    Raises ValueError for another version or kind of events, and if the file ends within an event.
    """
    raw = path.read_bytes()
    if len(raw) < _HEADER.size:
        raise ValueError("it is cut off in its header")
    what, major, _, _, kind, width, height = _HEADER.unpack_from(raw)
    if what != b"Event Stream" or major != 2 or kind not in _WORDS:
        raise ValueError(f"its header is {what!r}, version {major}, kind {kind}: only version 2 of DVS or ATIS is read")
    words = _WORDS[kind].findall(raw, _HEADER.size)
    if (left := len(raw) - _HEADER.size - sum(map(len, words))) > 0:
        raise ValueError(f"it is cut off: its last event has {left} bytes of 5")
    first = np.array([word[0] for word in words], np.int64)
    is_event = np.array([len(word) for word in words], np.int64) == 5
    if kind == _DVS:
        passed = np.where(is_event, first >> 1, np.where(first == 0xFF, 127, 0))
        is_change, p = is_event, first & 1
    else:
        passed = np.where(is_event, first >> 2, 63 * (first & 3))
        is_change, p = is_event & (first & 1 == 0), first >> 1 & 1
    x, y = np.frombuffer(b"".join(word[1:] for word in words), "<u2").reshape(-1, 2).T.astype(np.int64)
    kept = is_change[is_event]
    # Rows are counted from the bottom.
    return Columns(np.cumsum(passed)[is_change], x[kept], height - 1 - y[kept], p[is_change], (height, width))
