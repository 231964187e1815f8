"""Running out of memory, told in one line."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_SAID = re.compile(
    "out of memory|can't allocate memory|cannot allocate memory|not enough memory|bad_alloc|"
    "multiplication overflow|calculation overflowed",  # of sizes that no memory has
    re.IGNORECASE,
)


def is_shortage(error: BaseException) -> bool:
    """Whether memory ran out: Python's, NumPy's, a device's, or the processor's, for which torch has no own error."""
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and bool(_SAID.search(str(error))))


@contextmanager
def shortages_told(remedy: Callable[[], str]) -> Iterator[None]:
    """Turns running out of memory into a ValueError of one line that ends in a remedy."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_shortage(error):
            raise
        asked = re.search(r"allocate ([\d.]+ ?\w+)", str(error))
        more = f" for {asked[1]} more" if asked else ""
        raise ValueError(f"there is not enough memory{more}: {remedy()}") from error
