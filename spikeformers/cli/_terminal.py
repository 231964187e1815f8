"""Argument parsing and output of the commands. Foreign text is printed as plain text, unstyled and uncut."""

import sys
import unicodedata
from collections.abc import Sequence
from typing import Any, NoReturn

_ENDLESS = 1_000_000  # columns in a file or a pipe
_MOST_THREADS = 1024


def make_parser(usage: str, description: str, example: str) -> Any:
    from argparse import HelpFormatter

    from jsonargparse import ArgumentParser

    class Parser(ArgumentParser):
        def error(self, message: str, ex: Exception | None = None) -> NoReturn:
            raise ValueError(f"{' '.join(message.split())}; see spikeformers {usage.split()[0]} --help")

    return Parser(
        usage=f"spikeformers {usage} [options]",
        description=description,
        epilog=f"example: {example}",
        formatter_class=HelpFormatter,
    )


def engine_weights(asked: Any) -> Any:
    """The dtype of an engine's weights, None without --engine. Raises ValueError for --int8 alone."""
    if asked.int8 and not asked.engine:
        raise ValueError("--int8 applies to an engine only: give --engine --int8")
    if not asked.engine:
        return None
    import torch

    return torch.int8 if asked.int8 else torch.float32


def check_threads(threads: int | None) -> None:
    """Raises ValueError for a `--threads` that no processor has."""
    if threads is not None and not 1 <= threads <= _MOST_THREADS:
        raise ValueError(f"--threads {threads} is not in 1 to {_MOST_THREADS}: give the number of free cores")


def printable(text: str) -> str:
    """Text on one line: line breaks, control characters and bytes that are not UTF-8 are escaped."""
    return "".join(c if _is_inline(c) else c.encode("unicode_escape").decode() for c in text)


def _is_inline(letter: str) -> bool:
    return letter.isprintable() or letter in "\u200c\u200d" or unicodedata.category(letter) == "Zs"  # spaces, joiners


def say(*lines: str, file: Any = None) -> None:
    """Prints lines as plain text, unwrapped in a file or a pipe."""
    print(*map(printable, lines), sep="\n", file=file)


def make_table(*columns: str, right: Sequence[int] = ()) -> Any:
    """A table of plain text, for `show`. Cells wrap on a narrow terminal."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    class PlainTable(Table):
        def add_row(self, *cells: str) -> None:
            super().add_row(*(Text(printable(cell)) for cell in cells))

    table = PlainTable(box=SIMPLE_HEAD, pad_edge=False)
    for i, column in enumerate(columns):
        table.add_column(Text(printable(column)), justify="right" if i in right else "left", overflow="fold")
    return table


def console_of(file: Any) -> Any:
    """A console that prints text unstyled, as wide as its terminal or, in a file or a pipe, without limit."""
    from rich.console import Console

    width = None if file.isatty() else _ENDLESS
    return Console(file=file, width=width, highlight=False, markup=False, emoji=False)


def in_percent(rate: float | None) -> str:
    """A firing rate at which a spiking network breaks even; None if there is none."""
    return "no rate" if rate is None else f"{100 * rate:.2f} %"


def show(table: Any) -> None:
    console_of(sys.stdout).print(table)


def live_on(file: Any) -> Any:
    """A context whose `update` replaces what a terminal shows of it, such as a table."""
    from rich.live import Live

    return Live(console=console_of(file), refresh_per_second=10)
