"""Formatting numbers with suitable units."""

from collections.abc import Sequence

_JOULES = (("mJ", 1.0), ("µJ", 1e-3), ("nJ", 1e-6), ("pJ", 1e-9))


def joules(millijoules: float) -> str:
    """An energy with a suitable unit: `13.66 mJ`, `2.642 µJ`."""
    unit, size = next((unit for unit in _JOULES if abs(millijoules) >= unit[1]), _JOULES[-1])
    return f"{millijoules / size:.4g} {unit}"


def unit_of(millijoules: Sequence[float]) -> tuple[str, float]:
    """A unit that suits several energies, and its size in mJ."""
    return next((unit for unit in _JOULES if max(millijoules) >= unit[1] / 10), _JOULES[-1])


def si(count: float) -> str:
    """A count with a prefix: `12.51 G`."""
    for size, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(count) >= size:
            return f"{count / size:.2f} {prefix}"
    return f"{count:.4g}"
