"""Events in NumPy's own files: `.npz` with arrays t x y p, `.npy` with a table that has those names."""

from pathlib import Path

import numpy as np

from .recording import Events

_NAMES = {"t": ("t", "ts", "timestamp"), "x": ("x",), "y": ("y",), "p": ("p", "pol", "polarity")}


def read(path: Path) -> Events:
    """The events of a file; a polarity above 0 is on. Raises ValueError where a column is missing, and for pickles."""
    columns = np.load(path, allow_pickle=False)
    if path.suffix.lower() == ".npz":
        names = columns.files
    elif not (names := columns.dtype.names):
        raise ValueError(f"it is a plain array {list(columns.shape)}: save a structured one with fields t x y p")
    found = {}
    for name, spellings in _NAMES.items():
        there = [spelling for spelling in spellings if spelling in names]
        if not there:
            raise ValueError(f"it has no {name}, but {', '.join(names)}: save t (microseconds) x y p")
        found[name] = np.asarray(columns[there[0]])
    if len({column.shape for column in found.values()}) > 1 or found["t"].ndim != 1:
        raise ValueError(f"its columns differ in shape: {', '.join(str(c.shape) for c in found.values())}")
    t, x, y = (found[name].astype(np.int64) for name in "txy")
    return Events(t, x, y, (found["p"] > 0).astype(np.int64))
