"""What a checkpoint says of files."""

import itertools
import json
import sys
from collections.abc import Iterator
from typing import Any

from spikeformers.cli._terminal import engine_weights, make_parser, make_table, say, show

_TOGETHER = 32  # files in a batch


def run(words: list[str]) -> None:
    parser = make_parser(
        "predict CHECKPOINT FILE...",
        "What a trained model says of images or event recordings.",
        "spikeformers predict runs/digits seven.png",
    )
    parser.add_argument("checkpoint", help="a run folder, a .safetensors or .ckpt of a run, or an exported .onnx")
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="images, or recordings where it learnt from those, or folders of them"
    )
    parser.add_argument("--top", type=int, default=5, help="classes to name (5)")
    parser.add_argument(
        "--skip-broken", action="store_true", help="go on past files that cannot be read, and count them"
    )
    parser.add_argument("--engine", action="store_true", help="by sf.deploy.spike_engine, on a CPU")
    parser.add_argument("--int8", action="store_true", help="with --engine: weights of 8 bits")
    parser.add_argument("--threads", type=int, help="that compute; else one for each core that is free")
    parser.add_argument("--json", action="store_true", help="for programs")
    asked = parser.parse_args(words)
    if asked.top < 1:
        raise ValueError(f"--top {asked.top} is below 1: name at least one class")
    weights = engine_weights(asked)
    if asked.threads is not None and asked.threads < 1:
        raise ValueError(f"--threads {asked.threads} is below 1: give at least one")
    from spikeformers.deploy.onnx_model import is_exported
    from spikeformers.deploy.predict import Predictor
    from spikeformers.deploy.threads import free_threads

    trusted = {}
    if not is_exported(asked.checkpoint):
        from spikeformers.checkpoints.made_here import made_here

        trusted = {"trusted": made_here(asked.checkpoint)}
    predictor = Predictor(asked.checkpoint, weights=weights, threads=asked.threads or free_threads(), **trusted)
    files = [file for given in asked.files for file in predictor.files(given)]
    broken: list[str] = []
    said: dict[str, list[tuple[str, float]]] = {}
    found = _read(predictor, files, broken)
    while some := list(itertools.islice(found, _TOGETHER)):
        names, samples = zip(*some, strict=True)
        said.update(zip(names, predictor.classify(samples, top=asked.top), strict=True))
    if broken and not (said or asked.skip_broken):
        raise ValueError(broken[0])
    if asked.json:
        rows = [{"file": f, "top": [{"label": k, "confidence": p} for k, p in top]} for f, top in said.items()]
        print(json.dumps(rows, indent=2))
    else:
        table = make_table("file", *(f"top {i + 1}" for i in range(min(asked.top, len(predictor.classes)))))
        for file, top in said.items():
            table.add_row(file, *(f"{label} {confidence:.1%}" for label, confidence in top))
        show(table)
    if broken and asked.skip_broken:
        say(f"{len(broken)} of {len(files)} files left out, the first: {broken[0]}", file=sys.stderr)
    elif broken:
        raise ValueError(f"{broken[0]} ({len(broken)} of {len(files)} files have no answer)")


def _read(predictor: Any, files: list[str], broken: list[str]) -> Iterator[tuple[str, Any]]:
    """Each file that can be read, with what the model takes; of the others, why not, into `broken`."""
    for file in files:
        try:
            yield file, predictor.read(file)
        except (ValueError, OSError) as error:
            broken.append(f"{error}")
