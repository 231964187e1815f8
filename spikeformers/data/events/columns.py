"""Converting a file's columns to events, whatever their coding.

Files do not state how they code polarity and time. Any two values serve as polarities, times with fractions are
seconds, a clock that wrapped around is unwrapped, and events are sorted by time. Corrections are logged as remarks;
what cannot be corrected is refused.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .remarks import remark

_SPELLINGS = {
    "t": ("t", "ts", "timestamp", "timestamps", "time"),
    "x": ("x", "xs"),
    "y": ("y", "ys"),
    "p": ("p", "ps", "pol", "polarity", "polarities"),
}
_MINUS_ONE = (2**8 - 1, 2**16 - 1, 2**32 - 1)  # -1 saved as an unsigned integer
_CLOCKS = (2**24, 2**31, 2**32)  # microseconds after which clocks of cameras and files wrap around
_SET_BACK = 100_000  # microseconds: a jump back by more is a clock that was set back, not a late event
_LONGEST = 1e5  # seconds: times with fractions that span more are not seconds


class Events(NamedTuple):
    """Four arrays `[N]`, sorted by time: the pixel at column x and row y became brighter (p 1) or darker (p 0)."""

    t: np.ndarray  # int64, microseconds
    x: np.ndarray
    y: np.ndarray
    p: np.ndarray


class Columns(NamedTuple):
    """The columns of a file in its own coding, and the height and width of the sensor, if the file states them."""

    t: Any
    x: Any
    y: Any
    p: Any
    sensor: tuple[int, int] | None = None


def named_columns(names: Iterable[str]) -> dict[str, str] | None:
    """Which of a table's column names stand for t, x, y and p, or None if one is missing."""
    by_lower = {name.lower(): name for name in names}
    fitting = {
        column: [by_lower[one] for one in spellings if one in by_lower] for column, spellings in _SPELLINGS.items()
    }
    return {column: names[0] for column, names in fitting.items()} if all(fitting.values()) else None


def columns_by_name(table: Mapping[str, Any] | np.ndarray, names: Iterable[str]) -> Columns:
    """The columns of a table with named columns. Raises ValueError if one is missing."""
    names = list(names)
    found = named_columns(names)
    if not found:
        raise ValueError(f"it has {', '.join(names[:8]) or 'nothing'}, not t, x, y and p: save those four by name")
    t, x, y, p = (np.asarray(table[found[column]]).ravel() for column in "txyp")
    return Columns(t, x, y, p)


def columns_by_content(table: np.ndarray) -> Columns:
    """The columns of a plain `[N, 4]` table: t x y p, x y t p or x y p t, whichever its numbers show.

    Polarity is a column of at most two values. Time is one with fractions, else one that never decreases, else the one
    with the largest range. Raises ValueError for another shape, and if no column can be polarity.
    """
    table = np.asarray(table)
    if table.ndim != 2 or 4 not in table.shape or table.dtype.kind not in "biuf":
        raise ValueError(f"it is a plain array {list(table.shape)}: save [N, 4], t x y p, or a table with those names")
    columns = list(table.T if table.shape[1] == 4 else table)
    if not table.size:
        t, x, y, p = columns
        return Columns(t, x, y, p)
    fitting = [order for order in ("txyp", "xytp", "xypt") if _takes_two_values(columns[order.index("p")])]
    if not fitting:
        raise ValueError("neither its third nor its last column has only two values, as polarity has: save t x y p")

    def like_time(order: str) -> tuple[bool, bool, float]:
        t = columns[order.index("t")]
        return _has_fractions(t), bool((t[1:] >= t[:-1]).all()), float(t.max()) - float(t.min())

    order = max(fitting, key=like_time)
    t, x, y, p = (columns[order.index(column)] for column in "txyp")
    return Columns(t, x, y, p)


def to_events(columns: Columns, path: str | Path) -> Events:
    """Converts the columns of the file at `path` to events, sorted by time. Logs corrections as remarks.

    Raises ValueError for columns of different lengths, numbers that are not finite, pixels with fractions, more than
    two polarities, and times in an unknown unit.
    """
    t, x, y, p = arrays = [np.asarray(column) for column in columns[:4]]
    if len({array.shape for array in arrays}) > 1 or t.ndim != 1:
        raise ValueError(f"its columns differ in shape: {', '.join(str(array.shape) for array in arrays)}")
    if not t.size:
        return Events(*(array.astype(np.int64) for array in arrays))
    events = Events(_unwound(_microseconds(t, path), path), pixels(x, "x"), pixels(y, "y"), _on(p, path))
    return _in_order(events, path)


def pixels(column: Any, name: str) -> np.ndarray:
    """A column of integers as int64. Raises ValueError if it has fractions."""
    column = np.asarray(column)
    _check_finite(column, name)
    if _has_fractions(column):
        raise ValueError(f"its {name} has fractions, {column[column != np.floor(column)][0]:g}: round it to pixels")
    return column.astype(np.int64)


def _check_finite(column: np.ndarray, name: str) -> None:
    if column.dtype.kind not in "biufm":
        raise ValueError(f"its {name} have the type {column.dtype}: save them as numbers")
    if column.dtype.kind == "f" and (wrong := int((~np.isfinite(column)).sum())):
        raise ValueError(f"{wrong} of its {len(column)} {name} are not finite: remove those events")


def _has_fractions(column: np.ndarray) -> bool:
    return column.dtype.kind == "f" and bool((column != np.floor(column)).any())


def _takes_two_values(column: np.ndarray) -> bool:
    return bool(((column == column.min()) | (column == column.max())).all())


def _microseconds(t: np.ndarray, path: str | Path) -> np.ndarray:
    _check_finite(t, "times")
    if t.dtype.kind == "m":
        return t.astype("timedelta64[us]").astype(np.int64)
    if _has_fractions(t):
        span = float(t.max()) - float(t.min())
        if span > _LONGEST:
            raise ValueError(
                f"its times have fractions and span {span:g}: save whole microseconds, or seconds with fractions"
            )
        remark(path, "read times with fractions as seconds", f"{span:g} s in all")
        t = np.round(t.astype(np.float64) * 1e6)
    if abs(float(t.max())) >= 2**62 or abs(float(t.min())) >= 2**62:
        raise ValueError(f"its times reach {float(t.max()):g}, too large for microseconds: save them in microseconds")
    return t.astype(np.int64)


def _unwound(t: np.ndarray, path: str | Path) -> np.ndarray:
    """Times without the jumps of a clock that wrapped around."""
    step = np.diff(t)
    for period in _CLOCKS:
        if len(step) and -period <= step.min() <= -0.98 * period:
            turns = (step < -0.98 * period).astype(np.int64) - (step > 0.98 * period)
            remark(path, "unwrapped a clock", f"it wraps around after {period} microseconds, {turns.sum()} time(s)")
            return t + period * np.concatenate([[0], np.cumsum(turns)])
    return t


def _on(p: np.ndarray, path: str | Path) -> np.ndarray:
    """1 for the higher of the two polarities, 0 for the lower."""
    _check_finite(p, "polarities")
    low, high = p.min(), p.max()
    if not _takes_two_values(p):
        values = np.unique(p)
        listed = ", ".join(f"{value:g}" for value in values[:5]) + (", ..." if len(values) > 5 else "")
        raise ValueError(f"its polarities are {listed}, but there can be only two: save 0 and 1, or -1 and 1")
    if low == high:
        remark(path, "only one polarity", f"all are {low:g}, read as {'brighter' if low > 0 else 'darker'}")
        return np.full(len(p), int(low > 0), np.int64)
    on = low if low == 1 and int(high) in _MINUS_ONE else high
    return (p == on).astype(np.int64)


def _in_order(events: Events, path: str | Path) -> Events:
    t = events.t
    if (t[1:] >= t[:-1]).all():
        return events
    behind = np.maximum.accumulate(t) - t
    late, furthest = int((behind > 0).sum()), int(behind.max())
    # A few late events can be sorted in. After a clock was set back, all events are late.
    jumps = np.flatnonzero(np.diff(t) < -_SET_BACK)
    if late > len(t) / 10 and 0 < len(jumps) <= 3:
        what = "the clock jumps back, so sorting mixes events from before and after the jump"
        detail = f"by {-np.diff(t).min() / 1e6:g} s after event {jumps[0] + 1} of {len(t)}: cut the file there"
    else:
        what = "sorted events by time"
        detail = f"{late} of {len(t)} were late, by up to {furthest / 1e6:g} s"
    remark(path, what, detail)
    order = np.argsort(t, kind="stable")
    return Events(*(column[order] for column in events))
