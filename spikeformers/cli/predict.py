"""`spikeformers predict`: a model's predictions for files."""

import json
import re
import sys
from collections.abc import Iterator
from typing import Any

from spikeformers.cli._terminal import check_threads, engine_weights, make_parser, make_table, say, show

_TOGETHER = 32  # inputs in a batch
_WINDOW = re.compile(r" at [\d.]+ s$")  # the end of the name of a window of a recording
_TOP, _OUT, _MIN_SCORE = 5, "predictions", 0.5


def run(words: list[str]) -> None:
    parser = make_parser(
        "predict CHECKPOINT FILE...",
        "Classifies images or event recordings with a trained model, or finds boxes or masks in them.",
        "spikeformers predict runs/digits seven.png",
    )
    parser.add_argument(
        "checkpoint", help="a run folder, a weight file, an exported file, or a name that `list` has weights for"
    )
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="images or folders of images; recordings if trained on recordings"
    )
    parser.add_argument("--top", type=int, help="number of classes to name (5)")
    parser.add_argument("--out", help="folder for pictures with boxes or masks (predictions)")
    parser.add_argument("--min-score", type=float, help="lowest score of a box to show (0.5)")
    parser.add_argument("--skip-broken", action="store_true", help="skip and count files that cannot be read")
    parser.add_argument("--engine", action="store_true", help="run on sf.deploy.spike_engine, on a CPU")
    parser.add_argument("--int8", action="store_true", help="with --engine: 8-bit weights")
    parser.add_argument("--threads", type=int, help="threads (default: one per free core)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    asked = parser.parse_args(words)
    if asked.top is not None and asked.top < 1:
        raise ValueError(f"--top {asked.top} is below 1: name at least one class")
    weights = engine_weights(asked)
    check_threads(asked.threads)
    from spikeformers.deploy.formats import format_of
    from spikeformers.deploy.predict import Predictor
    from spikeformers.deploy.threads import free_threads

    trusted, checkpoint = {}, asked.checkpoint
    if not format_of(asked.checkpoint):
        from spikeformers.checkpoints.made_here import made_here
        from spikeformers.checkpoints.read import read_checkpoint

        trusted = {"trusted": made_here(asked.checkpoint)}
        checkpoint = read_checkpoint(asked.checkpoint)
        if "task" in (checkpoint.settings.get("preprocess") or {}):
            _find(asked, checkpoint, {"weights": weights, **trusted})
            return
    predictor = Predictor(checkpoint, weights=weights, threads=asked.threads or free_threads(), **trusted)
    _refuse(asked, "classifies", "min_score", "out")
    top = _TOP if asked.top is None else asked.top
    files = [file for given in asked.files for file in predictor.files(given)]
    broken: list[str] = []
    predictions: dict[str, list[tuple[str, float]]] = {}
    for some in _together(_read(predictor, files, broken)):
        names, samples = zip(*some, strict=True)
        predictions.update(zip(names, predictor.classify(samples, top=top), strict=True))
    if broken and not (predictions or asked.skip_broken):
        raise ValueError(broken[0])
    if asked.json:
        rows = [{"file": f, "top": [{"label": k, "confidence": p} for k, p in top]} for f, top in predictions.items()]
        print(json.dumps(rows, indent=2))
    else:
        table = make_table("file", *(f"top {i + 1}" for i in range(min(top, len(predictor.classes)))))
        for file, top in predictions.items():
            table.add_row(file, *(f"{label} {confidence:.1%}" for label, confidence in top))
        show(table)
    _say_broken(asked, broken, len(files))


def _find(asked: Any, checkpoint: Any, how: dict[str, Any]) -> None:
    """Draws boxes or masks on the files, and writes them as JSON too; masks also as class numbers."""
    from pathlib import Path

    import torch
    from PIL import Image

    from spikeformers.deploy.dense_predict import DensePredictor
    from spikeformers.deploy.threads import free_threads
    from spikeformers.files import atomic_write, check_output, short_name

    masks = checkpoint.settings["preprocess"]["task"] == "segmentation"
    _refuse(asked, *(("finds masks", "top", "min_score") if masks else ("finds boxes", "top")))
    out = asked.out or _OUT
    check_output("--out", out, folder=True)
    threads, min_score = asked.threads or free_threads(), _MIN_SCORE if asked.min_score is None else asked.min_score
    predictor = DensePredictor(checkpoint, min_score=min_score, threads=threads, **how)
    files = [file for given in asked.files for file in predictor.files(given)]
    broken: list[str] = []
    folder, rows, told = Path(out), [], []
    samples = (sample for _, some in _read(predictor, files, broken) for sample in some)
    for number, (sample, found) in enumerate(predictor.find(samples), 1):
        folder.mkdir(parents=True, exist_ok=True)
        stem = short_name(f"{number:03}-{Path(_WINDOW.sub('', sample.name)).stem}")
        found.drawn(sample.picture).save(folder / f"{stem}.png")
        row = {**found.describe(), "picture": f"{stem}.png"}
        if isinstance(found.answer, torch.Tensor):
            row["mask"] = f"{stem}-classes.png"
            Image.fromarray(found.answer.byte().numpy()).save(folder / row["mask"])
        rows.append(row)
        told.append((found.name, found.summary(), row["picture"]))
    if broken and not (rows or asked.skip_broken):
        raise ValueError(broken[0])
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write(folder / "predictions.json", json.dumps(rows, indent=2) + "\n")
    if asked.json:
        print(json.dumps(rows, indent=2))
    else:
        table = make_table("file", "found", "picture")
        for line in told:
            table.add_row(*line)
        show(table)
        say(f"{folder}/ has the pictures, and predictions.json every number")
    _say_broken(asked, broken, len(files))


def _refuse(asked: Any, does: str, *options: str) -> None:
    """Raises ValueError if an option is given that means nothing for a model that `does` this."""
    for option in options:
        if getattr(asked, option) is not None:
            name = option.replace("_", "-")
            raise ValueError(f"--{name} does not apply to {asked.checkpoint}, which {does}: leave it out")


def _say_broken(asked: Any, broken: list[str], files: int) -> None:
    if broken and asked.skip_broken:
        say(f"skipped {len(broken)} of {files} files, the first: {broken[0]}", file=sys.stderr)
    elif broken:
        raise ValueError(f"{broken[0]} ({len(broken)} of {files} files have no prediction)")


def _together(readable: Iterator[tuple[str, Any]]) -> Iterator[list[tuple[str, Any]]]:
    """Files in groups of as many inputs as go through a model at a time: a recording may have hundreds of windows."""
    group: list[tuple[str, Any]] = []
    for name, inputs in readable:
        group.append((name, inputs))
        if sum(len(inputs) for _, inputs in group) >= _TOGETHER:
            yield group
            group = []
    if group:
        yield group


def _read(predictor: Any, files: list[str], broken: list[str]) -> Iterator[tuple[str, Any]]:
    """Each readable file with the model's input. Adds the reasons for the other files to `broken`."""
    for file in files:
        try:
            yield file, predictor.read(file)
        except (ValueError, OSError) as error:
            broken.append(f"{error}")
