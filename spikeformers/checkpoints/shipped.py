"""Weights that come with the package, by name, as `cifar10_evening`: one file each in `spikeformers/weights`."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from safetensors import safe_open

_FOLDER = Path(str(files("spikeformers") / "weights"))
METADATA = "spikeformers"  # where a safetensors file has its settings


def shipped() -> dict[str, Path]:
    """The files of weights that come with the package, by name."""
    return {path.stem: path for path in sorted(_FOLDER.glob("*.safetensors"))}


def settings_of(path: Path) -> dict[str, Any]:
    """The settings in a file of weights of ours, without its weights."""
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()[METADATA])


def or_a_shipped_name() -> str:
    """The end of a remedy: the names that stand for weights."""
    return f", or a name that comes with weights: {', '.join(shipped())}" if shipped() else ""


def describe_shipped(name: str) -> dict[str, Any]:
    """What `describe_model` says of a size, of a model whose weights come with the package, without reading them.

    `top1` is of a paper, and so None; `weights` has the bytes of the file and `top1`, in percent, that it was measured
    at on the test set.
    """
    path = shipped()[name]
    settings = settings_of(path)
    config, test = settings["config"], settings["test"]
    numbers = {key: config[key] for key in ("time_steps", "in_channels", "image_size", "num_classes")}
    about = {"parameters": settings["parameters"], "data": settings["data"], "top1": None, "paper": ""}
    weights = {"bytes": path.stat().st_size, "top1": test["top1"]}
    return {"name": name, "task": "classification", **numbers, **about, "weights": weights}
