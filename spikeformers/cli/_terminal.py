"""How the commands read words and print tables."""

import sys
from collections.abc import Sequence
from typing import Any, NoReturn


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


def make_table(*columns: str, right: Sequence[int] = ()) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i in right else "left", no_wrap=True)
    return table


def console_of(file: Any) -> Any:
    from rich.console import Console

    return Console(file=file, width=None if file.isatty() else 160, highlight=False)


def show(table: Any) -> None:
    console_of(sys.stdout).print(table)
