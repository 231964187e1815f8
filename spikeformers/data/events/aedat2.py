"""AEDAT 2.0, as jAER writes it: lines that begin with #, then 8 bytes per event, an address and a time.

The format is described at docs.inivation.com/software/software-advanced-usage/file-formats/aedat-2.0.html. Addresses
count columns from the right and rows from the bottom, as in jAER's decoders of these cameras.
"""

import numpy as np

from .columns import Columns

SENSORS = {  # height, width of the cameras that AEDAT files name
    "DVS128": (128, 128),
    "DAVIS128": (128, 128),
    "DAVIS208": (192, 208),
    "DAVIS240": (180, 240),
    "DAVIS346": (260, 346),
    "DAVIS640": (480, 640),
}


def read(raw: bytes, start: int, camera: str) -> Columns:
    """The events of a file from byte `start` on. If it names no camera, a DVS128 is assumed.

    Frames, inertial measurements and external signals are skipped. Raises ValueError for a camera with an unknown
    address format, and if the file ends within an event.
    """
    camera = camera or "DVS128"
    if camera not in SENSORS:
        raise ValueError(f"its camera is {camera}: AEDAT 2.0 is read from {', '.join(SENSORS)} only")
    if (len(raw) - start) % 8:
        raise ValueError(f"its events take {len(raw) - start} bytes, which is not a multiple of 8: it is cut off")
    address, t = np.frombuffer(raw, ">u4", offset=start).reshape(-1, 2).T.astype(np.int64)
    if camera == "DVS128":
        kept, x, y, p = address >> 15 == 0, address >> 1 & 127, address >> 8 & 127, 1 - (address & 1)
    else:
        kept = (address >> 31 == 0) & (address >> 10 & 1 == 0)
        x, y, p = address >> 12 & 1023, address >> 22 & 511, address >> 11 & 1
    height, width = SENSORS[camera]
    return Columns(t[kept], (width - 1 - x)[kept], (height - 1 - y)[kept], p[kept], SENSORS[camera])
