"""AEDAT 2.0, as a DVS128 camera writes it: lines that begin with #, then 8 bytes an event, an address and a time.

The format is described at docs.inivation.com/software/software-advanced-usage/file-formats/aedat-2.0.html.
"""

from pathlib import Path

import numpy as np

from .recording import Events


def read(path: Path) -> Events:
    """The events of a file, oriented as the papers on CIFAR10-DVS see them.

    Raises ValueError where the camera is no DVS128, or the file ends within an event.
    """
    raw = path.read_bytes()
    start = 0
    while raw[start : start + 1] == b"#":
        end = raw.find(b"\n", start) + 1
        if not end:
            raise ValueError("it ends within its header")
        if b"davis" in raw[start:end].lower():
            raise ValueError("it is of a DAVIS camera, and of AEDAT 2.0 only the DVS128's addresses are read")
        start = end
    if (len(raw) - start) % 8:
        raise ValueError(f"{len(raw) - start} bytes of events are no multiple of 8: it is cut off")
    address, t = np.frombuffer(raw, ">u4", offset=start).reshape(-1, 2).T.astype(np.int64)
    # Column and row are counted from the far corner, and the sensor's rows are the picture's columns.
    x, y = 127 - (address >> 8 & 127), 127 - (address >> 1 & 127)
    return Events(t, x, y, 1 - (address & 1))
