"""The `spikeformers` command: each subcommand parses its words and calls one function. Importing this runs nothing."""

import difflib
import json
import logging
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

HELP = """\
usage: spikeformers COMMAND ...

  list [PATTERN]          the models, with parameters and published accuracy
  info MODEL              the parts of a model, with shapes and parameters
  recipes [PATTERN]       the recipes that come along
  train RECIPE            train by a recipe, into runs/<name>/
  eval CHECKPOINT         accuracy on a test set
  predict CHECKPOINT FILE...
                          what a trained model says of images
  identify FILE           which model a file of weights holds
  bench MODEL             speed and memory of a model on this machine

Each has --help with an example. Start with:  spikeformers train digits
"""

TRAIN_HELP = """\
usage: spikeformers train RECIPE [--model NAME] [--data NAME] [--any.field VALUE ...] [--run NAME] [--resume]

Trains by a recipe (a name from `spikeformers recipes`, or a file, mine.yaml) and leaves weights, settings, metrics and
pictures in runs/<recipe>/.

  --model NAME        another model; its arguments are --model.time_steps 8, --model.neuron PLIF, ...
  --data NAME         digits cifar10 cifar100 fashion_mnist mnist, or a folder: train/<class>/*, test/<class>/*
  --epochs N  --batch_size N  --optimizer.lr X  --precision bf16-mixed  --seed N  --data.workers N ...
                      any field of the recipe; a misspelt one is answered with those that are close
  --trainer.devices N --trainer.num_nodes N --trainer.strategy ddp ...
                      the switches of Lightning's Trainer
  --run NAME          name of the run's folder in runs/ (or in --out FOLDER)
  --resume            go on with that run from its last checkpoint

  spikeformers train digits --epochs 5 --run short
  spikeformers train spikformer_cifar10 --model spikformer_4_256_cifar10 --precision bf16-mixed
"""


def main(words: Sequence[str] | None = None) -> NoReturn:
    """Runs one command and exits: 0 when it did what was asked, 2 after a user's mistake, 130 after Ctrl-C."""
    words = list(sys.argv[1:] if words is None else words)
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    try:
        sys.exit(_run(words))
    except (ValueError, OSError, ImportError) as error:
        sys.exit(_say(" ".join(str(error).split()), 2))
    except KeyboardInterrupt as interrupt:
        sys.exit(_say(str(interrupt) or "interrupted", 130))


def _run(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(HELP, end="")
        return 0
    if words[0] == "--version":
        from spikeformers import __version__

        print(f"spikeformers {__version__}")
        return 0
    commands: dict[str, Callable[[list[str]], None]] = {
        "list": _list, "info": _info, "recipes": _recipes, "train": _train, "eval": _eval, "predict": _predict,
        "identify": _identify, "bench": _bench,
    }  # fmt: skip
    if words[0] not in commands:
        close = difflib.get_close_matches(words[0], commands, n=2) or commands
        raise ValueError(f"there is no command {words[0]!r}: did you mean {', '.join(close)}?")
    commands[words[0]](words[1:])
    return 0


def _list(words: list[str]) -> None:
    parser = _parser("list [PATTERN]", "The models by name.", "spikeformers list '*cifar10'")
    parser.add_argument("pattern", nargs="?", default="*", help="a word in the name, or a shell pattern")
    parser.add_argument("--json", action="store_true", help="for programs")
    asked = parser.parse_args(words)
    from spikeformers.models import describe_model, list_models

    names = list_models(asked.pattern)
    if not names:
        close = difflib.get_close_matches(asked.pattern, list_models(), n=3, cutoff=0.4)
        raise ValueError(
            f"no model matches {asked.pattern!r}" + (f": did you mean {', '.join(close)}?" if close else "")
        )
    rows = [describe_model(name) for name in names]
    if asked.json:
        print(json.dumps(rows, indent=2))
        return
    table = _table("model", "parameters", "T", "input", "published top-1", "paper", right=(1, 2, 4))
    for row in rows:
        top1 = f"{row['top1']:.2f} % {row['data']}" if row["top1"] is not None else "-"
        input_shape = f"{row['in_channels']} x {row['image_size']} x {row['image_size']}"
        table.add_row(row["name"], f"{row['parameters']:,}", str(row["time_steps"]), input_shape, top1, row["paper"])
    _show(table)


def _info(words: list[str]) -> None:
    parser = _parser(
        "info MODEL", "The parts of a model, with shapes and parameters.", "spikeformers info spikformer_8_512"
    )
    parser.add_argument("model", help="a name from `spikeformers list`")
    parser.add_argument("--json", action="store_true", help="for programs")
    asked = parser.parse_args(words)
    import torch

    from spikeformers.analysis import parts_tree
    from spikeformers.models import create_model

    with torch.device("meta"):
        model = create_model(asked.model)
    parts = parts_tree(model)
    if asked.json:
        print(json.dumps({"config": model.config, "parts": [vars(part) for part in parts]}, indent=2))
        return
    table = _table("part", "what it is", "output for one image", "parameters", right=(3,))
    for part in parts:
        shape = " ".join(map(str, part.shape)) if part.shape else ""
        table.add_row("  " * part.depth + (part.name or asked.model), part.kind, shape, f"{part.parameters:,}")
    _show(table)
    print("shapes: T B C H W in parts, T B K of the head, B K of the model; a line such as blocks 0-7 stands for all")


def _recipes(words: list[str]) -> None:
    parser = _parser("recipes [PATTERN]", "The recipes that come along.", "spikeformers recipes cifar")
    parser.add_argument("pattern", nargs="?", default="", help="a word in the name")
    parser.add_argument("--json", action="store_true", help="for programs")
    asked = parser.parse_args(words)
    from spikeformers.training.recipe_file import list_recipes, recipe_head

    heads = {name: recipe_head(name) for name in list_recipes() if asked.pattern in name}
    if not heads:
        raise ValueError(f"no recipe matches {asked.pattern!r}: there are {', '.join(list_recipes())}")
    if asked.json:
        print(json.dumps(heads, indent=2))
        return
    for name, head in heads.items():
        print(f"{name}\n  " + head.replace("\n", "\n  ") + "\n")


def _train(words: list[str]) -> None:
    if not words or {"-h", "--help"} & set(words):
        print(TRAIN_HELP, end="")
        return
    recipe_name, *words = words
    if recipe_name.startswith("-"):
        raise ValueError(f"train got {recipe_name} where a recipe belongs: spikeformers train RECIPE {recipe_name} ...")
    resume = "--resume" in words
    from spikeformers.training import fit, read_recipe

    recipe = read_recipe(recipe_name, [word for word in words if word != "--resume"])
    result = fit(recipe, resume=resume)
    run = result.run
    test = result.test
    print(f"\ntest accuracy {test.top1:.2f} % on {test.images} images, by the weights of epoch {result.epoch}")
    if result.best_on_test is not None:
        print(f"best on test {result.best_on_test:.2f} %, over all epochs, as papers report; it chose nothing")
    print(f"{run}/ holds {', '.join(sorted(entry.name for entry in run.iterdir() if entry.is_file()))}\n\nTry next:")
    print(f"  spikeformers predict {run} {run}/samples/*.png")
    print(f"  spikeformers eval {run}")
    print(f"  spikeformers train {recipe_name} --model.neuron PLIF --run {run.name}-plif")


def _eval(words: list[str]) -> None:
    parser = _parser("eval CHECKPOINT", "Accuracy on a test set.", "spikeformers eval runs/digits")
    parser.add_argument("checkpoint", help="a run folder, a .safetensors or .ckpt, or a released file")
    parser.add_argument("--data", help="a known set or a folder; else the one it was trained on")
    parser.add_argument("--root", help="where known sets lie (data/)")
    parser.add_argument("--model", help="name of the model, for a file that does not say")
    parser.add_argument("--batch-size", type=int, default=128, help="images at a time (128)")
    parser.add_argument("--workers", type=int, default=0, help="loading processes (0)")
    parser.add_argument("--skip-broken", action="store_true", help="leave out images that cannot be read")
    parser.add_argument("--json", action="store_true", help="for programs")
    asked = parser.parse_args(words)
    from rich.progress import track

    from spikeformers.models import read_checkpoint
    from spikeformers.training.evaluate import evaluate_checkpoint

    console = _console(sys.stderr)
    scores = evaluate_checkpoint(
        read_checkpoint(asked.checkpoint, asked.model),
        asked.data,
        root=asked.root,
        batch_size=asked.batch_size,
        workers=asked.workers,
        skip_broken=asked.skip_broken,
        shown=lambda batches: track(
            batches, "evaluating", console=console, transient=True, disable=not console.is_terminal
        ),
    )
    if asked.json:
        print(json.dumps(vars(scores)))
    else:
        print(f"top-1 {scores.top1:.2f} %, top-5 {scores.top5:.2f} %, loss {scores.loss:.4f}, {scores.images} images")


def _predict(words: list[str]) -> None:
    parser = _parser(
        "predict CHECKPOINT FILE...",
        "What a trained model says of images.",
        "spikeformers predict runs/digits seven.png",
    )
    parser.add_argument("checkpoint", help="a run folder, or a .safetensors or .ckpt of a run")
    parser.add_argument("files", nargs="+", metavar="FILE", help="images")
    parser.add_argument("--top", type=int, default=5, help="classes to name (5)")
    parser.add_argument(
        "--skip-broken", action="store_true", help="go on past files that are no images, and count them"
    )
    parser.add_argument("--json", action="store_true", help="for programs")
    asked = parser.parse_args(words)
    if asked.top < 1:
        raise ValueError(f"--top {asked.top} is below 1: name at least one class")
    from spikeformers.deploy import Predictor

    predictor = Predictor(asked.checkpoint)
    said: dict[str, list[tuple[str, float]]] = {}
    broken = []
    for file in asked.files:
        try:
            said[file] = predictor([file], top=asked.top)[0]
        except (ValueError, OSError) as error:
            if not asked.skip_broken:
                raise
            broken.append(f"{error}")
    if asked.json:
        rows = [{"file": f, "top": [{"label": k, "confidence": p} for k, p in top]} for f, top in said.items()]
        print(json.dumps(rows, indent=2))
    else:
        table = _table("image", *(f"top {i + 1}" for i in range(min(asked.top, len(predictor.classes)))))
        for file, top in said.items():
            table.add_row(file, *(f"{label} {confidence:.1%}" for label, confidence in top))
        _show(table)
    if broken:
        print(f"{len(broken)} of {len(asked.files)} files left out, the first: {broken[0]}", file=sys.stderr)


def _identify(words: list[str]) -> None:
    parser = _parser(
        "identify FILE",
        "Which model a file of weights holds, likeliest first, why, and what keys and shapes do not tell.",
        "spikeformers identify V3_19.0M_1x4.pth",
    )
    parser.add_argument("file", help="a run folder, a .safetensors or .ckpt, or a released file")
    parser.add_argument("--json", action="store_true", help="for programs")
    asked = parser.parse_args(words)
    from spikeformers.models import identify, read_checkpoint
    from spikeformers.models._identify import spell

    checkpoint = read_checkpoint(asked.file)
    candidates = identify(checkpoint)
    if asked.json:
        print(json.dumps([candidate.describe() for candidate in candidates], indent=2))
        return
    print(f"{asked.file}: {len(checkpoint.weights)} keys, likeliest first\n")
    for candidate in candidates:
        print(f"{candidate.call}\n  {candidate.summary}")
        for reason in candidate.reasons:
            print(f"  {reason}")
        if candidate.refusal:
            print(f"  it cannot be loaded: it is {candidate.refusal}")
        if candidate.untold:
            values = (f"{k} {'must be given' if v is None else spell(v)}" for k, v in candidate.untold.items())
            print(f"  keys and shapes do not tell: {', '.join(values)}")
        print()


def _bench(words: list[str]) -> None:
    parser = _parser(
        "bench MODEL",
        "Speed and memory of a model on this machine, and SpikingJelly's beside it where it is installed and has it.",
        "spikeformers bench spikformer_4_384_cifar10 --bf16 --ways plain,lean,compiled,spikingjelly",
    )
    parser.add_argument("model", help="a name from `spikeformers list`")
    parser.add_argument("--batch-size", type=int, default=16, help="images a step (16)")
    parser.add_argument("--time-steps", type=int, help="the model's own, if not given")
    parser.add_argument("--bf16", action="store_true", help="under bf16 autocast")
    parser.add_argument(
        "--ways", default="plain,lean,spikingjelly", help="plain, lean, compiled, spikingjelly, spikingjelly-compiled"
    )
    parser.add_argument("--threads", type=int, help="CPU threads")
    parser.add_argument("--repeats", type=int, default=5, help="steps timed each way (5)")
    parser.add_argument("--json", action="store_true", help="for programs")
    asked = parser.parse_args(words)
    for name in ("batch_size", "repeats", "time_steps", "threads"):
        if (value := getattr(asked, name)) is not None and value < 1:
            raise ValueError(f"--{name.replace('_', '-')} {value} is below 1: nothing would be measured")
    from spikeformers.analysis.bench import threads
    from spikeformers.analysis.ways import bench_ways

    settings = dict(batch_size=asked.batch_size, bf16=asked.bf16, repeats=asked.repeats)
    overrides = {} if asked.time_steps is None else {"time_steps": asked.time_steps}
    with threads(asked.threads):
        speeds, (training, evaluation) = bench_ways(asked.model, asked.ways.split(","), **settings, **overrides)
    if asked.json:
        says = {"ways": [vars(speed) for speed in speeds], "products": {"training": training, "evaluation": evaluation}}
        print(json.dumps({**vars(asked), **says}, indent=2))
        return
    table = _table("way", "training", "evaluation", "peak of a step", "first steps", right=(1, 2, 3, 4))

    def images(seconds: float) -> str:
        return f"{asked.batch_size / seconds:.1f} images/s"

    for speed in speeds:
        peak = f"{speed.peak / asked.batch_size:.1f} MiB/image"
        table.add_row(speed.way, images(speed.training), images(speed.evaluation), peak, f"{speed.first:.1f} s")
    table.add_row("products alone", images(training), images(evaluation), "", "")
    _show(table)


def _parser(usage: str, says: str, example: str) -> Any:
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


def _table(*columns: str, right: Sequence[int] = ()) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i in right else "left", no_wrap=True)
    return table


def _console(file: Any) -> Any:
    from rich.console import Console

    return Console(file=file, width=None if file.isatty() else 160, highlight=False)


def _show(table: Any) -> None:
    _console(sys.stdout).print(table)


def _say(message: str, status: int) -> int:
    print(f"spikeformers: {message}", file=sys.stderr)
    return status
