"""The size of a camera's sensor, where nobody says it."""

import logging
from typing import Any

from torch.utils.data import DataLoader, Dataset

from .progress import shown


class _Extents(Dataset):
    """Item i is the height and width that hold recording i; (0, 0) of one that cannot be read."""

    def __init__(self, recordings: Any):
        self.recordings = recordings

    def __len__(self) -> int:
        return len(self.recordings)

    def __getitem__(self, index: int) -> tuple[int, int]:
        try:
            events = self.recordings[index][0].events()
        except (ValueError, OSError, ImportError):
            return 0, 0  # it is named when its frames are made
        return int(events.y.max()) + 1, int(events.x.max()) + 1


def measure_sensor(name: str, recordings: Any, workers: int) -> tuple[int, int]:
    """The height and width in pixels that hold all events of a set of recordings, which is also told to the log."""
    extents = DataLoader(_Extents(recordings), batch_size=None, num_workers=workers)
    heights, widths = zip(*shown(extents, "looking for the sensor's size"), strict=True)
    height, width = max(1, *heights), max(1, *widths)
    logging.getLogger("spikeformers").warning(
        "all recordings of %s fit %d x %d pixels: data.sensor [%d, %d], or what the camera has, saves looking",
        name, height, width, height, width,
    )  # fmt: skip
    return height, width
