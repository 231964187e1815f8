"""How the commands read words and print: whatever comes from outside is plain text, and nothing of it is cut."""

import sys
import unicodedata
from collections.abc import Sequence
from typing import Any, NoReturn

_ENDLESS = 1_000_000  # columns of a file or a pipe


def make_parser(usage: str, says: str, example: str) -> Any:
    from argparse import HelpFormatter

    from jsonargparse import ArgumentParser

    class Parser(ArgumentParser):
        def error(self, message: str, ex: Exception | None = None) -> NoReturn:
            raise ValueError(f"{' '.join(message.split())}; see spikeformers {usage.split()[0]} --help")

    return Parser(
        usage=f"spikeformers {usage} [options]",
        description=says,
        epilog=f"example: {example}",
        formatter_class=HelpFormatter,
    )


def engine_weights(asked: Any) -> Any:
    """The dtype of an engine's weights that --engine and --int8 ask for; None without. Raises ValueError."""
    import torch

    if asked.int8 and not asked.engine:
        raise ValueError("--int8 is how an engine has its weights: say --engine --int8")
    return (torch.int8 if asked.int8 else torch.float32) if asked.engine else None


def printable(text: str) -> str:
    """Text that stays on its line: line breaks, control characters and bytes that are no UTF-8 as their escapes."""
    return "".join(c if _keeps_its_line(c) else c.encode("unicode_escape").decode() for c in text)


def _keeps_its_line(letter: str) -> bool:
    return letter.isprintable() or letter in "\u200c\u200d" or unicodedata.category(letter) == "Zs"  # spaces, joiners


def say(*lines: str, file: Any = None) -> None:
    """Prints lines as plain text, each on one line of a file or a pipe."""
    print(*map(printable, lines), sep="\n", file=file)


def make_table(*columns: str, right: Sequence[int] = ()) -> Any:
    """A table of plain text, for `show`; on a narrow terminal its cells are folded."""
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
    """A console that takes text for what it is, and is as wide as its terminal, or endless."""
    from rich.console import Console

    width = None if file.isatty() else _ENDLESS
    return Console(file=file, width=width, highlight=False, markup=False, emoji=False)


def show(table: Any) -> None:
    console_of(sys.stdout).print(table)
