"""Events in HDF5: four columns in a group, one table, or a plain `[N, 4]` array, anywhere in the file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import evlib_files
from .columns import Columns, columns_by_content, columns_by_name, named_columns
from .headers import sensor_in
from .remarks import remark


def read(path: Path) -> Columns:
    """The events of a file. If it has several recordings, the first is read, with a remark.

    Raises ImportError, naming what to install, if h5py is missing, and ValueError if there are no events.
    """
    try:
        import h5py
        import hdf5plugin  # noqa: F401  # decompression filters for h5py
    except ImportError as error:
        raise ImportError(f'reading {path} needs h5py: pip install "spikeformers[events]"') from error
    with h5py.File(path) as file:
        places: dict[str, Any] = {}

        def visit(name: str, node: Any) -> None:
            if reader := _reader_of(node):
                places[name or "/"] = node, reader

        visit("", file)
        file.visititems(visit)
        if not places:
            raise ValueError("it has no t, x, y and p, neither in a group nor as a table: save those four by name")
        (name, (node, reader)), *others = places.items()
        if others:
            remark(path, "read only the first of several recordings in one file", f"{name}, not {others[0][0]}")
        try:
            columns = reader(node)
        except OSError as error:
            if "filter" not in str(error):  # such as Prophesee's own compression, which evlib decodes
                raise
            columns = evlib_files.read(path)
        stated = " ".join(f"{key} {value}\n" for part in (file, node.parent, node) for key, value in part.attrs.items())
        return columns._replace(sensor=sensor_in(stated.encode()) or columns.sensor)


def _reader_of(node: Any) -> Callable[[Any], Columns] | None:
    """A function from a group or dataset to its columns, or None if it holds no events."""
    if hasattr(node, "items"):
        found = named_columns(name for name, part in node.items() if _is_vector(part))
        if not found:
            return None
        return lambda group: columns_by_name({name: group[name][()] for name in found.values()}, found.values())
    if node.shape is None:  # an empty dataset
        return None
    if names := node.dtype.names:
        return (lambda table: columns_by_name(table[()], names)) if named_columns(names) else None
    if len(node.shape) == 2 and node.shape[1] == 4 and "event" in node.name.rpartition("/")[2]:
        return lambda table: columns_by_content(table[()])
    return None


def _is_vector(part: Any) -> bool:
    """Whether a member of a group is a column, [N] or, from MATLAB, [1, N]."""
    shape = getattr(part, "shape", None)  # None also for an empty dataset
    return shape is not None and max(shape, default=0) == part.size
