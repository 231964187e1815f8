"""Iterating over recordings with several processes and a progress bar."""

import sys
from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader, Dataset

from spikeformers.data.loading import check_workers, unwrap_worker_errors


def each(items: Dataset, what: str, workers: int) -> Iterator[Any]:
    """The items of a dataset in order, with a progress bar if stderr is a terminal."""
    from rich.console import Console
    from rich.progress import track

    check_workers(workers)
    loader = DataLoader(items, batch_size=None, num_workers=workers, collate_fn=_unchanged)
    console = Console(file=sys.stderr)
    shown = track(loader, what, len(loader), console=console, transient=True, disable=not console.is_terminal)
    with unwrap_worker_errors():
        yield from shown


def _unchanged(item: Any) -> Any:
    return item
