"""A trained run as weights that come with the package: int8, tested as they are, with a card.

python benchmarks/ship_weights.py RUN NAME SET DATA     as in   runs/cifar10_evening cifar10_evening cifar10 FOLDER

SET is the name that the data is known by, DATA the folder to test on.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from spikeformers.checkpoints import read_checkpoint
from spikeformers.checkpoints.card import model_card
from spikeformers.checkpoints.int8 import pack
from spikeformers.checkpoints.load import build_from
from spikeformers.checkpoints.made_here import last_start
from spikeformers.checkpoints.shipped import METADATA, shipped
from spikeformers.data.known import SETS
from spikeformers.evaluation.evaluate import evaluate_checkpoint

FOLDER = Path(__file__).parents[1] / "spikeformers" / "weights"
DATA = "CIFAR-10, as JPEG files (the images lose a little: 30.5 dB)"


def main(run: str, name: str, known: str, data: str) -> None:
    checkpoint, start, path = read_checkpoint(run), last_start(Path(run)), FOLDER / f"{name}.safetensors"
    settings, recipe = checkpoint.settings, checkpoint.settings["recipe"]
    model = build_from(checkpoint)
    kept = {key: settings[key] for key in ("config", "preprocess", "classes", "epoch") if key in settings}
    kept |= {
        "recipe": {**recipe, "data": {**recipe["data"], "name": known, "root": "data"}, "out": "runs"},
        "license": "apache-2.0",
        "data": "CIFAR-10",
        "command": told(start["command"], recipe),
        "commit": start["git"]["spikeformers"],
        "parameters": sum(p.numel() for p in model.parameters()),
        "test_float32": settings["test"],
    }
    kept["started_from"] = earlier(recipe["start_from"], path)
    weights = pack(checkpoint.weights)
    for test in ({"top1": 0.0}, None):  # written to be tested, and again with what came of it
        if test is None:
            test = vars(evaluate_checkpoint(read_checkpoint(path), data))
        save_file(weights, path, {METADATA: json.dumps({**kept, "test": test})})
    card = model_card(model, {**kept, "test": test}, name)
    size = f"int8, a scale for each output channel, {path.stat().st_size / 1e6:.1f} MB"
    notes = {
        "data": DATA,
        "weights": f"{size}; {settings['test']['top1']:.2f} % before they were rounded",
        "command": f"`{kept['command']}`",
        "commit": f"`{kept['commit'][:12]}`",
        **{
            f"run before, {i}": "`{command}`, commit `{commit:.12}`, epoch {epoch}".format(**run)
            for i, run in enumerate(kept["started_from"], 1)
        },
        "epochs": f"{recipe['epochs']}; of epoch {settings['epoch']}, the best on validation images",
    }
    card = card.replace(
        "\n\n## Use", "".join(f"\n| {key} | {value} |" for key, value in notes.items()) + "\n\n## Use", 1
    )
    of = "Max-Former's stages with SDT V3's integer neurons and attention (arXiv:2411.16061)."
    card = card.replace(f"# {model.config['name']}\n\n", f"# {name}\n\n{of} ", 1)
    path.chmod(0o644)
    path.with_suffix(".md").write_text(card, "utf-8")
    assert name in shipped() and known in SETS
    print(f"{path}: {path.stat().st_size} bytes, {test['top1']:.2f} % of {test['images']} test images")


def told(command: str, recipe: dict[str, Any]) -> str:
    """A command without what is of one machine."""
    return re.sub(r" --resume| --out \S+", "", command).replace(recipe["data"]["name"], "FOLDER")


def earlier(start: str | None, path: Path) -> list[dict[str, Any]]:
    """How the weights came about that a run started from, the latest first, as far as the weights that it replaces."""
    if start is None:
        return []
    if start == path.stem:
        before = read_checkpoint(path).settings
        return [{key: before[key] for key in ("command", "commit", "epoch")}, *before.get("started_from", [])]
    settings, made = read_checkpoint(start).settings, last_start(Path(start).parents[1])
    run = {
        "command": told(made["command"], settings["recipe"]),
        "commit": made["git"]["spikeformers"],
        "epoch": settings["epoch"],
    }
    return [run, *earlier(settings["recipe"]["start_from"], path)]


if __name__ == "__main__":
    main(*sys.argv[1:])
