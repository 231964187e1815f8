"""What is odd about recordings and was put right in reading them: said in the log, and counted over many."""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

_NAMED = 3  # recordings with the same oddity, before a process that reads them one by one names no more

logger = logging.getLogger("spikeformers")


class Remark(NamedTuple):
    """`what` is the same for all recordings of which it is true, `detail` is of the one at `path`."""

    path: str
    what: str
    detail: str


_listening: list[list[Remark]] = []
_said: Counter[str] = Counter()


def remark(path: object, what: str, detail: str) -> None:
    """Leaves a remark to whoever collects them, or else says it, of the first few recordings."""
    if _listening:
        _listening[-1].append(Remark(str(path), what, detail))
        return
    _said[what] += 1
    if _said[what] <= _NAMED:
        more = "; more of the same are not named" if _said[what] == _NAMED else ""
        logger.warning("%s: %s (%s)%s", path, what, detail, more)


@contextmanager
def collected() -> Iterator[list[Remark]]:
    """The remarks that are made meanwhile, none of which is said."""
    _listening.append([])
    try:
        yield _listening[-1]
    finally:
        _listening.pop()


def say(remarks: Sequence[Remark], of: int) -> None:
    """Says remarks on `of` recordings, one line for each that is about the same."""
    for what in dict.fromkeys(one.what for one in remarks):
        about = {one.path: one.detail for one in reversed(remarks) if one.what == what}
        path = next(reversed(about))
        logger.warning("%s, in %d of %d recording(s), the first %s: %s", what, len(about), of, path, about[path])
