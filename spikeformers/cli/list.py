"""`spikeformers list`: the models by name."""

import difflib
import json
from typing import Any

from spikeformers.cli._terminal import make_parser, make_table, show


def run(words: list[str]) -> None:
    parser = make_parser("list [PATTERN]", "Lists models by name.", "spikeformers list '*cifar10'")
    parser.add_argument("pattern", nargs="?", default="*", help="a word in the name, or a shell pattern")
    parser.add_argument("--task", default="classification", help="classification, detection or segmentation")
    parser.add_argument("--json", action="store_true", help="print JSON")
    asked = parser.parse_args(words)
    from spikeformers.checkpoints.shipped import describe_shipped, shipped
    from spikeformers.models import describe_model, list_models
    from spikeformers.models.registry import matches

    names = list_models(asked.pattern, asked.task)
    ours = shipped() if asked.task == "classification" else {}
    with_weights = [name for name in ours if matches(name, asked.pattern)]
    if not (names or with_weights):
        known = [*list_models(task=asked.task), *ours]
        close = difflib.get_close_matches(asked.pattern, known, n=3, cutoff=0.4)
        raise ValueError(
            f"no model matches {asked.pattern!r}" + (f": did you mean {', '.join(close)}?" if close else "")
        )
    rows = [describe_model(name) | {"weights": None} for name in names]
    rows += [describe_shipped(name) for name in with_weights]
    if asked.json:
        print(json.dumps(rows, indent=2))
        return
    if asked.task != "classification":
        table = make_table("model", "T", "input", "classes", "paper of the trunk", right=(1, 3))
        for row in rows:
            table.add_row(row["name"], str(row["time_steps"]), _input(row), str(row["num_classes"]), row["paper"])
        show(table)
        return
    table = make_table("model", "parameters", "T", "input", "published top-1", "paper", "weights", right=(1, 2, 4))
    for row in rows:
        top1 = f"{row['top1']:.2f} % {row['data']}" if row["top1"] is not None else "-"
        parameters = "-" if row["parameters"] is None else f"{row['parameters']:,}"
        about = (parameters, str(row["time_steps"] or "-"), _input(row), top1, row["paper"])
        table.add_row(row["name"], *about, _weights(row))
    show(table)


def _input(row: dict[str, Any]) -> str:
    return " x ".join(str(row[key] or "-") for key in ("in_channels", "image_size", "image_size"))


def _weights(row: dict[str, Any]) -> str:
    """What comes with the package: `81.20 % CIFAR-10, 2.7 MB`."""
    here = row["weights"]
    return f"{here['top1']:.2f} % {row['data']}, {here['bytes'] / 1e6:.1f} MB" if here else ""
