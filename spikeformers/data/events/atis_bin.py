"""The `.bin` files of N-MNIST and N-Caltech101, 5 bytes per event: x, y, polarity (1 bit) and time (23 bits).

Orchard et al., "Converting Static Image Datasets to Spiking Neuromorphic Datasets Using Saccades", 2015.
"""

from pathlib import Path

import numpy as np

from .columns import Columns

_OVERFLOW = 240  # an entry on this row is no event, but reports that the camera's clock wrapped around


def read(path: Path) -> Columns:
    """The events of a file. Raises ValueError if its size is not a multiple of 5 bytes."""
    raw = np.fromfile(path, np.uint8)
    if raw.size % 5:
        raise ValueError(f"its size, {raw.size} bytes, is not a multiple of 5: it is cut off, or of another format")
    x, y, high, middle, low = raw.reshape(-1, 5).T.astype(np.int64)
    p, t = high >> 7, (high & 127) << 16 | middle << 8 | low
    rounds = y == _OVERFLOW
    t = t + (np.cumsum(rounds) << 13)  # each adds 2**13 microseconds to all later events
    return Columns(t[~rounds], x[~rounds], y[~rounds], p[~rounds])
