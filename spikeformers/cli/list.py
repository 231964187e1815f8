"""`spikeformers list`: the models by name."""

import difflib
import json

from spikeformers.cli._terminal import make_parser, make_table, show


def run(words: list[str]) -> None:
    parser = make_parser("list [PATTERN]", "Lists models by name.", "spikeformers list '*cifar10'")
    parser.add_argument("pattern", nargs="?", default="*", help="a word in the name, or a shell pattern")
    parser.add_argument("--json", action="store_true", help="print JSON")
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
    table = make_table("model", "parameters", "T", "input", "published top-1", "paper", right=(1, 2, 4))
    for row in rows:
        top1 = f"{row['top1']:.2f} % {row['data']}" if row["top1"] is not None else "-"
        input_shape = f"{row['in_channels']} x {row['image_size']} x {row['image_size']}"
        table.add_row(row["name"], f"{row['parameters']:,}", str(row["time_steps"]), input_shape, top1, row["paper"])
    show(table)
