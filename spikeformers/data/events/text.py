"""Events in text, `.txt` or `.csv`: one line per event, in columns named by the first line or found by content."""

import itertools
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .columns import Columns, columns_by_content, columns_by_name, named_columns

_COMMENTS = ("#", "%", "//")
_ENCODING = "utf-8-sig"  # with or without a byte order mark


class _Head(NamedTuple):
    lines: int  # before the first event
    names: list[str]  # of the columns, if a line gives them
    sensor: tuple[int, int] | None  # from a line with only width and height
    delimiter: str | None  # None is white space


def holds_events(path: Path) -> bool:
    """Whether a text file is a table of events, judging by its first lines."""
    try:
        _head_of(path)
    except (ValueError, OSError):  # UnicodeDecodeError is a ValueError
        return False
    return True


def read(path: Path) -> Columns:
    """The events of a file. Raises ValueError if it is not a table of numbers with t, x, y and p."""
    head = _head_of(path)
    how = {"delimiter": head.delimiter, "skiprows": head.lines, "comments": _COMMENTS, "encoding": _ENCODING}
    table = np.loadtxt(path, ndmin=2, **how)
    if head.names:
        columns = columns_by_name(dict(zip(head.names, table.T, strict=True)), head.names)
    else:
        columns = columns_by_content(table)
    return columns._replace(sensor=head.sensor)


def _head_of(path: Path) -> _Head:
    names: list[str] = []
    sensor = None
    with path.open(encoding=_ENCODING) as file:
        for number, line in enumerate(itertools.islice(file, 1000)):
            delimiter = next((mark for mark in ",;" if mark in line), None)
            words = line.strip().lstrip("#%/").replace('"', "").strip()
            fields = [word for word in re.split(rf"\s*{delimiter}\s*" if delimiter else r"\s+", words) if word]
            if not fields:
                continue
            if named_columns(fields):
                names = fields
            elif line.lstrip().startswith(_COMMENTS):
                continue
            elif len(fields) == 2 and all(field.isdigit() for field in fields):
                sensor = int(fields[1]), int(fields[0])
            elif len(fields) == (len(names) or 4) and _numbers(fields):
                return _Head(number, names, sensor, delimiter)
            else:
                break
    raise ValueError(
        "it is not a table of events: write t x y p on one line per event, and name the columns in the first line if "
        "there are more"
    )


def _numbers(fields: list[str]) -> bool:
    try:
        return bool([float(field) for field in fields])
    except ValueError:
        return False
