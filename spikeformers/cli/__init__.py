"""The `spikeformers` command: one file a subcommand, which parses its words and calls one function.

Importing this runs nothing.
"""

import difflib
import io
import logging
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

COMMANDS = {  # what each takes, and what it says of itself
    "list": ("[PATTERN]", "the models, with parameters and published accuracy"),
    "info": ("MODEL", "the parts of a model, with shapes and parameters"),
    "recipes": ("[PATTERN]", "the recipes that come along"),
    "train": ("RECIPE", "train by a recipe, into runs/<name>/"),
    "eval": ("CHECKPOINT", "accuracy on a test set"),
    "predict": ("CHECKPOINT FILE...", "what a trained model says of images"),
    "identify": ("FILE", "which model a file of weights holds"),
    "bench": ("MODEL", "speed and memory of a model on this machine"),
    "analyze": ("MODEL", "what a model costs, how it fires and where it looks, as a page"),
    "compare-energy": ("MODEL...", "operations and energy of models side by side"),
    "compare": ("RECIPE", "parts against each other, trained alike over several seeds"),
}


def _help() -> str:
    lines = []
    for name, (takes, says) in COMMANDS.items():
        usage = f"  {name} {takes}"
        lines.append(f"{usage:<26}{says}" if len(usage) < 26 else f"{usage}\n{'':26}{says}")
    return "\n".join(
        [
            "usage: spikeformers COMMAND ...",
            "",
            *lines,
            "",
            "Each has --help with an example. Start with:  spikeformers train digits",
            "",
        ]
    )


def main(words: Sequence[str] | None = None) -> NoReturn:
    """Runs one command and exits: 0 when it did what was asked, 2 after a user's mistake, 130 after Ctrl-C."""
    words = [*(sys.argv[1:] if words is None else words)]  # not list(): the command of that name, once it is imported
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # libraries' words to programmers; ours are log lines
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a letter that the encoding lacks ends no command
    try:
        sys.exit(_run(words))
    except (ValueError, OSError, ImportError) as error:
        sys.exit(_say(" ".join(str(error).split()), 2))
    except KeyboardInterrupt as interrupt:
        sys.exit(_say(str(interrupt) or "interrupted", 130))


def _run(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        text = _help()
        print(text, end="")
        return 0
    if words[0] == "--version":
        from spikeformers import __version__

        print("spikeformers", __version__)
        return 0
    if words[0] not in COMMANDS:
        close = difflib.get_close_matches(words[0], COMMANDS, n=2) or COMMANDS
        raise ValueError(f"there is no command {words[0]!r}: did you mean {', '.join(close)}?")
    import_module(f"spikeformers.cli.{words[0].replace('-', '_')}").run(words[1:])
    return 0


def _say(message: str, status: int) -> int:
    from spikeformers.cli._terminal import say

    say(f"spikeformers: {message}", file=sys.stderr)
    return status
