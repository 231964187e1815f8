"""AEDAT 3.1, the format of DVS128 Gesture: a text header, then packets, each with events of one kind.

The format is described at docs.inivation.com/software/software-advanced-usage/file-formats/aedat-3.1.html.
"""

import struct

import numpy as np

from .aedat2 import SENSORS
from .columns import Columns

_END_OF_HEADER = b"#!END-HEADER\r\n"
# Of a packet: kind, source, size of an event, offset and overflow of its time, capacity, number of events, valid ones.
_PACKET = struct.Struct("<HHIIIIII")
_POLARITY = 1


def read(raw: bytes, start: int, camera: str) -> Columns:
    """The polarity events of a file that are marked as valid. Other kinds of events are skipped.

    Raises ValueError if the header has no end, or the file ends within a packet.
    """
    start = raw.find(_END_OF_HEADER) + len(_END_OF_HEADER)
    if start < len(_END_OF_HEADER):
        raise ValueError("its header has no end")
    words, times = [], []
    while start < len(raw):
        if len(raw) - start < _PACKET.size:
            raise ValueError("it is cut off within the header of a packet")
        kind, _, size, _, overflow, capacity, _, _ = _PACKET.unpack_from(raw, start)
        start += _PACKET.size
        if len(raw) - start < capacity * size:
            raise ValueError("it is cut off within a packet")
        if kind == _POLARITY:
            packet = np.frombuffer(raw, "<u4", capacity * 2, start).reshape(-1, 2)
            words.append(packet[:, 0])
            times.append(packet[:, 1].astype(np.int64) | overflow << 31)
        start += capacity * size
    word = np.concatenate([np.empty(0, np.uint32), *words]).astype(np.int64)
    t = np.concatenate([np.empty(0, np.int64), *times])
    valid = (word & 1).astype(bool)
    word = word[valid]
    return Columns(t[valid], word >> 17, word >> 2 & 0x7FFF, word >> 1 & 1, SENSORS.get(camera))
