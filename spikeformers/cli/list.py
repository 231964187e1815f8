"""`spikeformers list`: the models by name."""

import difflib
import json
from typing import Any

from spikeformers.cli._terminal import make_parser, make_table, show


def run(words: list[str]) -> None:
    parser = make_parser("list [PATTERN]", "Lists models by name.", "spikeformers list '*cifar10'")
    parser.add_argument("pattern", nargs="?", default="*", help="a word in the name, or a shell pattern")
    parser.add_argument("--json", action="store_true", help="print JSON")
    asked = parser.parse_args(words)
    from spikeformers.checkpoints.shipped import describe_shipped, shipped
    from spikeformers.models import describe_model, list_models
    from spikeformers.models.registry import matches

    names = list_models(asked.pattern)
    with_weights = [name for name in shipped() if matches(name, asked.pattern)]
    if not (names or with_weights):
        close = difflib.get_close_matches(asked.pattern, [*list_models(), *shipped()], n=3, cutoff=0.4)
        raise ValueError(
            f"no model matches {asked.pattern!r}" + (f": did you mean {', '.join(close)}?" if close else "")
        )
    rows = [describe_model(name) | {"weights": None} for name in names]
    rows += [describe_shipped(name) for name in with_weights]
    if asked.json:
        print(json.dumps(rows, indent=2))
        return
    table = make_table("model", "parameters", "T", "input", "published top-1", "paper", "weights", right=(1, 2, 4))
    for row in rows:
        top1 = f"{row['top1']:.2f} % {row['data']}" if row["top1"] is not None else "-"
        input_shape = f"{row['in_channels']} x {row['image_size']} x {row['image_size']}"
        about = (f"{row['parameters']:,}", str(row["time_steps"]), input_shape, top1, row["paper"])
        table.add_row(row["name"], *about, _weights(row))
    show(table)


def _weights(row: dict[str, Any]) -> str:
    """What comes with the package: `81.20 % CIFAR-10, 2.7 MB`."""
    here = row["weights"]
    return f"{here['top1']:.2f} % {row['data']}, {here['bytes'] / 1e6:.1f} MB" if here else ""
