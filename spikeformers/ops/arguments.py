"""Validate numeric arguments of neurons, surrogates and parts."""

import math
from collections.abc import Sequence
from numbers import Integral, Real


def check_whole(least: int = 1, why: str = "", **values: object) -> None:
    """Raises ValueError, with the argument's name, unless it is an integer >= `least`; `why` replaces the remedy."""
    for name, value in values.items():
        if not isinstance(value, Integral) or isinstance(value, bool):
            raise ValueError(f"{name} {value!r} is not a whole number: give {least} or more")
        if value < least:
            raise ValueError(f"{name} {value} is below {least}: {why or f'give {least} or more'}")


def check_finite(**values: object) -> None:
    """Raises ValueError, with the argument's name, unless it is a finite number."""
    for name, value in values.items():
        if not isinstance(value, Real) or isinstance(value, bool) or not is_finite(value):
            raise ValueError(f"{name} {value!r} is not a finite number: give one")


def is_finite(value: Real | float) -> bool:
    """Whether a number is one that a float can be."""
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number of 309 digits or more
        return False


def check_positive(**values: object) -> None:
    """Raises ValueError, with the argument's name, unless it is a finite number above 0."""
    check_finite(**values)
    for name, value in values.items():
        if not (isinstance(value, Real) and float(value) > 0):
            raise ValueError(f"{name} {value} is not above 0: give a number that is")


def check_sizes(**values: object) -> None:
    """Raises ValueError, with the argument's name, unless it is a list or tuple of integers >= 1."""
    for name, value in values.items():
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise ValueError(f"{name} {value!r} is not a list of whole numbers: give one such as (2, 1)")
        for number in value:
            if not isinstance(number, Integral) or isinstance(number, bool) or number < 1:
                raise ValueError(f"{name} {tuple(value)} are not whole numbers of 1 or more: {number!r} is not")
