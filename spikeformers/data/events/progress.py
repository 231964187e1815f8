"""Passes over recordings, by several processes and under a progress bar."""

import sys
from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader, Dataset

from spikeformers.data.loading import check_workers


def each(items: Dataset, what: str, workers: int) -> Iterator[Any]:
    """The items of a dataset in order, with a bar on stderr where that is a terminal."""
    from rich.console import Console
    from rich.progress import track

    check_workers(workers)
    loader = DataLoader(items, batch_size=None, num_workers=workers, collate_fn=_as_it_is)
    console = Console(file=sys.stderr)
    yield from track(loader, what, len(loader), console=console, transient=True, disable=not console.is_terminal)


def _as_it_is(item: Any) -> Any:
    return item
