"""The `spikeformers` command. Each subcommand has a file, which parses its arguments and calls one function."""

import difflib
import io
import logging
import os
import stat
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from spikeformers.memory import shortages_told

COMMANDS = {  # name: arguments, help
    "list": ("[PATTERN]", "list models, with parameters and published accuracy"),
    "info": ("MODEL", "show the parts of a model, with shapes and parameters"),
    "recipes": ("[PATTERN]", "list the recipes that ship with the package"),
    "train": ("RECIPE", "train a model by a recipe, into runs/<name>/"),
    "eval": ("CHECKPOINT", "measure accuracy, mAP or mIoU on a test set"),
    "predict": ("CHECKPOINT FILE...", "classify images or event recordings, or find boxes or masks"),
    "watch": ("SOURCE --model RUN", "play a recording, images or a camera through a model"),
    "export": ("CHECKPOINT", "write a trained model for another runtime, such as ONNX Runtime"),
    "serve": ("CHECKPOINT", "answer requests over HTTP with a model's predictions"),
    "identify": ("FILE", "find out which model a file of weights holds"),
    "bench": ("MODEL", "measure speed and memory of a model on this machine"),
    "analyze": ("MODEL", "write a page on a model's cost, firing and attention"),
    "audit": ("MODEL", "look for leaks, lost gradients and more in any PyTorch model"),
    "compare-energy": ("MODEL...", "compare operations and energy of models"),
    "compare": ("RECIPE", "compare parts, trained alike over several seeds"),
}

_CLOSED_PIPE = 141  # as a shell tells of a command that SIGPIPE ended
_SMALLER = {  # remedies if memory runs out
    **dict.fromkeys(("train", "compare"), "lower batch_size, model.image_size, model.time_steps or the model's sizes"),
    **dict.fromkeys(
        ("eval", "bench", "analyze", "audit", "compare-energy"), "lower --batch-size, or use a smaller model"
    ),
}


def _help() -> str:
    lines = []
    for name, (arguments, text) in COMMANDS.items():
        usage = f"  {name} {arguments}"
        lines.append(f"{usage:<26}{text}" if len(usage) < 26 else f"{usage}\n{'':26}{text}")
    return "\n".join(
        [
            "usage: spikeformers COMMAND ...",
            "",
            *lines,
            "",
            "Each command has --help with an example. Start with:  spikeformers train digits",
            "",
        ]
    )


def main(words: Sequence[str] | None = None) -> NoReturn:
    """Runs one command and exits: 0 after success, 1 if an audit finds a fault, 2 after a mistake, 130 after Ctrl-C."""
    words = [*(sys.argv[1:] if words is None else words)]  # not list(), which may be the imported command `list`
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # libraries warn programmers; this package logs what users should read
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # never fail on a letter that the encoding lacks
    try:
        with shortages_told(lambda: _SMALLER.get(words[0], "use a smaller model")):
            status = _run(words)
            sys.stdout.flush()
            sys.exit(status)
    except BrokenPipeError as error:
        sys.exit(_CLOSED_PIPE if _left_unread() else _report(str(error), 2))
    except (ValueError, OSError, ImportError) as error:
        sys.exit(_report(" ".join(str(error).split()), 2))
    except KeyboardInterrupt as interrupt:
        sys.exit(_report(str(interrupt) or "interrupted", 130))


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
    return import_module(f"spikeformers.cli.{words[0].replace('-', '_')}").run(words[1:]) or 0


def _left_unread() -> bool:
    """Whether the output is a pipe, such as `| head`, that was closed; then what is left of it goes nowhere."""
    out = sys.stdout.fileno()
    if not stat.S_ISFIFO(os.fstat(out).st_mode):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), out)
    return True


def _report(message: str, status: int) -> int:
    from spikeformers.cli._terminal import say

    say(f"spikeformers: {message}", file=sys.stderr)
    return status
