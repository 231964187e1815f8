"""`spikeformers info`: the parts of a model."""

import json

from spikeformers.cli._terminal import make_parser, make_table, say, show


def run(words: list[str]) -> None:
    parser = make_parser(
        "info MODEL", "Shows the parts of a model, with shapes and parameters.", "spikeformers info spikformer_8_512"
    )
    parser.add_argument("model", help="a name from `spikeformers list`")
    parser.add_argument("--json", action="store_true", help="print JSON")
    asked = parser.parse_args(words)
    import torch

    from spikeformers.analysis import parts_tree
    from spikeformers.checkpoints import create_model

    with torch.device("meta"):
        model = create_model(asked.model)
    parts = parts_tree(model)
    if asked.json:
        print(json.dumps({"config": model.config, "parts": [vars(part) for part in parts]}, indent=2))
        return
    table = make_table("part", "kind", "output for one image", "parameters", right=(3,))
    for part in parts:
        shape = " ".join(map(str, part.shape)) if part.shape else ""
        table.add_row("  " * part.depth + (part.name or asked.model), part.kind, shape, f"{part.parameters:,}")
    show(table)
    ends = {
        "classification": "head T B K, model B K",
        "segmentation": "head and model B K H W",
        "detection": "pyramids at their finest level, model before it chooses boxes; parts on regions have none",
    }
    say(f"shapes: parts T B C H W, {ends[model.task]}; a line such as blocks 0-7 stands for several equal parts")
