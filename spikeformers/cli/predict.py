"""What a checkpoint says of files."""

import json
import sys

from spikeformers.cli._terminal import engine_weights, make_parser, make_table, say, show


def run(words: list[str]) -> None:
    parser = make_parser(
        "predict CHECKPOINT FILE...",
        "What a trained model says of images or event recordings.",
        "spikeformers predict runs/digits seven.png",
    )
    parser.add_argument("checkpoint", help="a run folder, or a .safetensors or .ckpt of a run")
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="images, or recordings where it learnt from those, or folders of them"
    )
    parser.add_argument("--top", type=int, default=5, help="classes to name (5)")
    parser.add_argument(
        "--skip-broken", action="store_true", help="go on past files that cannot be read, and count them"
    )
    parser.add_argument("--engine", action="store_true", help="by sf.deploy.spike_engine, on a CPU")
    parser.add_argument("--int8", action="store_true", help="with --engine: weights of 8 bits")
    parser.add_argument("--json", action="store_true", help="for programs")
    asked = parser.parse_args(words)
    if asked.top < 1:
        raise ValueError(f"--top {asked.top} is below 1: name at least one class")
    weights = engine_weights(asked)
    from spikeformers.checkpoints.made_here import made_here
    from spikeformers.deploy import Predictor

    predictor = Predictor(asked.checkpoint, trusted=made_here(asked.checkpoint), weights=weights)
    said: dict[str, list[tuple[str, float]]] = {}
    broken = []
    files = [file for given in asked.files for file in predictor.files(given)]
    for file in files:
        try:
            said[file] = predictor([file], top=asked.top)[0]
        except (ValueError, OSError) as error:
            broken.append(f"{error}")
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
