"""Events in NumPy's files: `.npz` with arrays t x y p, `.npy` with a table of those columns, or `[N, 4]`."""

from pathlib import Path

import numpy as np

from .columns import Columns, columns_by_content, columns_by_name


def read(path: Path) -> Columns:
    """The events of a file. Raises ValueError if a column is missing, and for pickles."""
    held = np.load(path, allow_pickle=False)
    if path.suffix.lower() == ".npy":
        return columns_by_name(held, held.dtype.names) if held.dtype.names else columns_by_content(held)
    if "frames" in held.files:
        raise ValueError(
            "it holds frames, not events: put files of frames into a folder frames_number_<T>_split_by_<number or time>"
        )
    return columns_by_name(held, held.files)
