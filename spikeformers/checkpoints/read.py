"""Read weight files: safetensors with the settings that rebuild the model, and third-party checkpoints."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from spikeformers.checkpoints.containers import read_pickle, stranger, training_arguments, unwrap
from spikeformers.checkpoints.int8 import unpack
from spikeformers.checkpoints.shipped import METADATA, or_a_shipped_name, shipped
from spikeformers.data.settings import Data
from spikeformers.models.building import build

WEIGHTS = "weights.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """A weight file in memory.

    Attributes:
        path: The file.
        weights: Tensors by key.
        settings: The model's `config`, `preprocess`, `classes`, ...; empty for third-party files.
        training: The training arguments in a third-party file.
    """

    path: Path
    weights: dict[str, Tensor]
    settings: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)

    @property
    def config(self) -> dict[str, Any]:
        """Arguments for `create_model` that rebuild the model; empty if the file has none."""
        config = self.settings.get("config")
        return config if isinstance(config, dict) and isinstance(config.get("name"), str) else {}


def read_checkpoint(path: str | Path, model: str | None = None) -> Checkpoint:
    """Reads a weight file, without running any code in it.

    Args:
        path: A run folder, a `.safetensors`, our `.ckpt`, a third-party checkpoint, or, where there is no such file,
            the name of weights that come with the package.
        model: The name of the model, for a file without a config.

    Returns:
        The weights and settings.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged, refused or empty, or stores another model than `model`.
    """
    path = find_weights(path)
    if path.is_dir():
        if not (path / WEIGHTS).is_file():
            kept = [path / "checkpoints" / name for name in ("best.ckpt", "last.ckpt")]
            found = next((file for file in kept if file.is_file()), None)
            remedy = f"its run is not finished, give {found}" if found else "give a weight file"
            raise FileNotFoundError(f"{path} is a folder without {WEIGHTS}: {remedy}")
        path = path / WEIGHTS
    if not path.is_file():
        remedy = f"give a run folder or a weight file{or_a_shipped_name()}"
        raise FileNotFoundError(f"there is no checkpoint {path}: {remedy}")
    try:
        checkpoint = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    except ValueError as error:
        if "is refused" in str(error) or not (what := stranger(path)):
            raise
        what = f"it is {what}; give a weight file or a run folder"
        raise ValueError(f"{path} is not a readable checkpoint: {what}") from error
    told = {name: value for name, value in checkpoint.settings.items() if value is not None}  # null is nothing said
    checkpoint = replace(checkpoint, settings=told)
    try:
        check_settings(told)
    except ValueError as error:  # the file was edited or is damaged
        raise ValueError(f"{path} is damaged: its {error}; fetch it again") from error
    if model is not None and (stored := checkpoint.config.get("name", model)) != model:
        raise ValueError(f"{path} says that it holds {stored}, not {model}: leave out --model")
    if model is not None and not checkpoint.config:
        with torch.device("meta"):
            config = build(model, {}).config
        checkpoint = replace(checkpoint, settings={**checkpoint.settings, "config": config})
    return checkpoint


def find_weights(path: str | Path) -> Path:
    """The path itself, or, where nothing is there, of the weights of that name that come with the package."""
    return Path(path) if Path(path).exists() else shipped().get(str(path), Path(path))


_TEXTS = {"name": str, "root": str, "cache": str | None, "interpolation": str | None}


def check_settings(settings: Mapping[str, Any]) -> None:
    """Raises ValueError for settings that no version of spikeformers writes."""
    for name in ("config", "preprocess", "recipe"):
        if not isinstance(settings.get(name, {}), dict):
            raise _odd(name, settings[name], "a mapping")
    data = settings.get("recipe", {}).get("data", {})
    if not isinstance(data, dict):
        raise _odd("recipe.data", data, "a mapping")
    for known in dataclasses.fields(Data):
        value, default = data.get(known.name, known.default), known.default
        kinds = _TEXTS.get(known.name, type(default) if default is not None else int | float | list | None)
        if not isinstance(value, float | int if kinds is float else kinds):
            raise _odd(f"recipe.data.{known.name}", value, "another kind of value")
    classes = settings.get("classes") or []
    if not (isinstance(classes, list) and all(isinstance(name, str) for name in classes)):
        raise _odd("classes", classes, "a list of names")
    for name, numbers in (settings.get("preprocess") or {}).items():
        most = 1e12 if name == "window_events" else 1e6  # a large camera sends millions of events a second
        for number in numbers if isinstance(numbers, list) else [numbers]:
            if isinstance(number, int | float) and not (abs(number) < most):
                raise _odd(f"preprocess.{name}", numbers, "a number of ordinary size")


def _odd(name: str, value: Any, wanted: str) -> ValueError:
    found = repr(value)
    found = found if len(found) < 60 else found[:57] + "..."
    return ValueError(f"setting {name} must be {wanted}, not {found}")


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
        raise ValueError(f"{path} is not a readable safetensors file ({error}): fetch it again") from error
    return Checkpoint(path, unwrap(unpack(weights), path), settings if isinstance(settings, dict) else {})
