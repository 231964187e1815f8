"""Reading files of weights: safetensors with the settings that rebuild the model inside, and what others published."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from spikeformers.checkpoints.containers import read_pickle, stranger, training_arguments, unwrap
from spikeformers.models.registry import build

WEIGHTS = "weights.safetensors"
METADATA = "spikeformers"


@dataclass(frozen=True)
class Checkpoint:
    """Weights by key, and what the file says of itself: `config`, `preprocess`, `classes`, ... or nothing.

    `training` holds the arguments that others' training code left in the file.
    """

    path: Path
    weights: dict[str, Tensor]
    settings: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)

    @property
    def config(self) -> dict[str, Any]:
        """What `create_model` needs to rebuild the model, or nothing where the file does not say."""
        config = self.settings.get("config")
        return config if isinstance(config, dict) and isinstance(config.get("name"), str) else {}


def read_checkpoint(path: str | Path, model: str | None = None) -> Checkpoint:
    """Reads a run folder, a `.safetensors`, a `.ckpt` of ours or a file that others published. Runs none of it.

    `model` is the name of the model it holds, for a file that does not say so itself.

    Raises FileNotFoundError where there is nothing, ValueError for what is damaged, refused or empty.
    """
    path = Path(path)
    if path.is_dir():
        if not (path / WEIGHTS).is_file():
            raise FileNotFoundError(f"{path} is a folder without {WEIGHTS}: give a finished run, or the file itself")
        path = path / WEIGHTS
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint {path}: give a run folder or a file of weights")
    try:
        checkpoint = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    except ValueError as error:
        if "is refused" in str(error) or not (what := stranger(path)):
            raise
        what = f"it is {what}; give a file of weights, or a run folder"
        raise ValueError(f"{path} is not a readable checkpoint: {what}") from error
    if model is not None and not checkpoint.config:
        with torch.device("meta"):
            config = build(model, {}).config
        checkpoint = replace(checkpoint, settings={**checkpoint.settings, "config": config})
    return checkpoint


def _read_pickle(path: Path) -> Checkpoint:
    content = read_pickle(path)
    settings = content.get(METADATA)
    settings = settings if isinstance(settings, dict) else {}
    return Checkpoint(path, unwrap(content, path), settings, training_arguments(content))


def _read_safetensors(path: Path) -> Checkpoint:
    try:
        with safe_open(path, "pt") as file:
            weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
            settings = json.loads((file.metadata() or {}).get(METADATA, "{}"))
    except (SafetensorError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not a readable safetensors file ({error}): it may be damaged") from error
    return Checkpoint(path, unwrap(weights, path), settings if isinstance(settings, dict) else {})
