"""A progress bar for passes over recordings."""

import sys
from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader


def shown(loader: DataLoader, what: str) -> Iterator[Any]:
    """The items of a loader, with a bar on stderr where that is a terminal."""
    from rich.console import Console
    from rich.progress import track

    console = Console(file=sys.stderr)
    yield from track(loader, what, len(loader), console=console, transient=True, disable=not console.is_terminal)
