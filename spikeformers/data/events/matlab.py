"""Events in MATLAB's `.mat`, such as ASL-DVS: variables, or fields of one struct, with t, x, y and p."""

from pathlib import Path
from typing import Any

import numpy as np

from . import hdf5
from .columns import Columns, columns_by_content, columns_by_name, named_columns


def read(path: Path) -> Columns:
    """The events of a file. Raises ValueError if there are none."""
    from scipy.io import loadmat

    try:
        variables = loadmat(path, simplify_cells=True)
    except NotImplementedError:  # version 7.3, which is HDF5
        return hdf5.read(path)
    return _columns_in({name: value for name, value in variables.items() if not name.startswith("__")})


def _columns_in(variables: dict[str, Any]) -> Columns:
    if named_columns(variables):
        return columns_by_name(variables, variables)
    for value in variables.values():
        if isinstance(value, dict) and named_columns(value):
            return columns_by_name(value, value)
        if isinstance(value, np.ndarray) and value.ndim == 2 and value.shape[1] == 4:
            return columns_by_content(value)
    raise ValueError(f"it has {', '.join(variables) or 'nothing'}, not t, x, y and p: save those four by name")
