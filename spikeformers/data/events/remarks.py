"""Remarks on oddities of recordings that were corrected in reading: logged one by one, or summarised over a set."""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

_NAMED = 3  # recordings that a process names for the same remark before it stops

logger = logging.getLogger("spikeformers")


class Remark(NamedTuple):
    """`what` is the same for all recordings with this oddity, `detail` is for the one at `path`."""

    path: str
    what: str
    detail: str


_collectors: list[list[Remark]] = []
_logged: Counter[str] = Counter()


def remark(path: object, what: str, detail: str) -> None:
    """Adds a remark to the innermost `collected` block, or else logs it for the first few recordings."""
    if _collectors:
        _collectors[-1].append(Remark(str(path), what, detail))
        return
    _logged[what] += 1
    if _logged[what] <= _NAMED:
        more = "; further recordings are not listed" if _logged[what] == _NAMED else ""
        logger.warning("%s: %s (%s)%s", path, what, detail, more)


@contextmanager
def collected() -> Iterator[list[Remark]]:
    """Collects the remarks made inside the `with` block instead of logging them."""
    _collectors.append([])
    try:
        yield _collectors[-1]
    finally:
        _collectors.pop()


def say(remarks: Sequence[Remark], of: int) -> None:
    """Logs remarks on `of` recordings, one line per kind."""
    for what in dict.fromkeys(one.what for one in remarks):
        about = {one.path: one.detail for one in reversed(remarks) if one.what == what}
        path = next(reversed(about))
        logger.warning("%s, in %d of %d recording(s), the first %s: %s", what, len(about), of, path, about[path])
