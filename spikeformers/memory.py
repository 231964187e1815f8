"""Out of memory, told in one line."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_SAID = re.compile(
    "out of memory|can't allocate memory|cannot allocate memory|not enough memory|bad_alloc|"
    "multiplication overflow|calculation overflowed",  # sizes beyond any memory
    re.IGNORECASE,
)


def is_shortage(error: BaseException) -> bool:
    """Whether memory ran out, in Python, NumPy or torch, which has no error type for it on the CPU."""
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and bool(_SAID.search(str(error))))


@contextmanager
def shortages_told(remedy: Callable[[], str]) -> Iterator[None]:
    """Raises ValueError, in one line that ends with the remedy, if memory runs out inside."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_shortage(error):
            raise
        asked = re.search(r"allocate ([\d.]+ ?\w+)", str(error))
        more = f" for {asked[1]} more" if asked else ""
        raise ValueError(f"there is not enough memory{more}: {remedy()}") from error
