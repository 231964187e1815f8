"""Reading weights: safetensors with the settings that rebuild the model inside, and what others published."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from spikeformers.models._hub import download, is_repository
from spikeformers.models._layout import compare
from spikeformers.models._network import SpikingTransformer
from spikeformers.models._parts import find_part, slot_of
from spikeformers.models._registry import build, find_family
from spikeformers.models._released import check_loadable, read_pickle, training_arguments, translate, unwrap

logger = logging.getLogger("spikeformers")

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
    checkpoint = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
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


def load_checkpoint(model: SpikingTransformer, path: str | Path) -> SpikingTransformer:
    """Loads weights, ours or in a family's released layout, into a model in place, and returns it.

    A file for another `num_classes` leaves the model its new head, or none, one for other `in_channels` its new first
    convolution, and a log line says so. Everything else is strict.

    Raises what `read_checkpoint` raises, and ValueError where keys or shapes differ, naming the first ten.
    """
    checkpoint = read_checkpoint(path)
    ours = model.state_dict()
    weights = checkpoint.weights
    if (name := model.config.get("name")) and ":" not in name:
        family = find_family(name)
        check_loadable(weights, family, path)
        weights = translate(weights, family, model.config, ours)
    kept = {key for key in ours if key.endswith("num_batches_tracked")} - set(weights)  # some files leave them out
    new_ends = _new_ends(model, weights, checkpoint)
    kept |= {key for keys, _ in new_ends for key in keys}
    weights = {key: value for key, value in weights.items() if key not in kept}
    _check_fit(model, ours, weights, kept, checkpoint)
    for _, what in new_ends:
        logger.warning("%s %s", checkpoint.path, what)
    model.load_state_dict({**ours, **weights})
    return model


def from_pretrained(path: str | Path, *, revision: str | None = None, **overrides: Any) -> SpikingTransformer:
    """Builds the model a checkpoint of ours describes, loads its weights, and returns it in eval mode.

    `path` is a folder or file; where there is none, `owner/name` is a repository on the Hugging Face Hub, and
    `revision` its branch, tag or commit. `overrides` go to `create_model`. A file may name parts that are not ours;
    they are refused unless passed in here, because to find them would run somebody's code.

    Raises what `load_checkpoint` raises, ValueError for a file that does not describe its model, and FileNotFoundError
    for a repository that is not there, or not a model of ours, and where the Hub cannot be reached.
    """
    if not Path(path).exists() and is_repository(str(path)):
        path = download(str(path), WEIGHTS, revision)
    elif revision is not None:
        raise ValueError(f"{path} has no revision {revision!r}: only a repository on the Hub, owner/name, has them")
    checkpoint = read_checkpoint(path)
    return build_from(checkpoint, **overrides)


def build_from(checkpoint: Checkpoint, **overrides: Any) -> SpikingTransformer:
    """`from_pretrained` for a checkpoint that has been read."""
    if not checkpoint.config:
        raise ValueError(
            f"{checkpoint.path} does not say which model it holds: name it, by --model or create_model(...); "
            f"`spikeformers identify {checkpoint.path}` says what it looks like"
        )
    trusted = {key: find_part(slot, value) if (slot := slot_of(key)) else value for key, value in overrides.items()}
    arguments = {key: value for key, value in checkpoint.config.items() if key != "name"}
    model = build(checkpoint.config["name"], {**arguments, **trusted}, allow_foreign=False)
    return load_checkpoint(model, checkpoint.path).eval()


def _new_ends(
    model: SpikingTransformer, weights: Mapping[str, Tensor], checkpoint: Checkpoint
) -> list[tuple[set[str], str]]:
    """The keys a file cannot fill because it was made for other classes or channels, and what to say of each end."""
    ends: list[tuple[set[str], str]] = []
    ours = model.state_dict()
    if model.num_classes == 0 and (keys := {key for key in weights if key.startswith("head.") and key not in ours}):
        ends.append((keys, "has a head: it is left out, for 0 classes"))
    if model.num_classes and checkpoint.config.get("num_classes") == 0:
        keys = {key for key in ours if key.startswith("head.") and key not in weights}
        ends.append((keys, f"has no classes: a new head for {model.num_classes}"))
    for name, layer in model.head.named_modules(prefix="head"):
        found = weights.get(f"{name}.weight")
        if not isinstance(layer, nn.Linear) or found is None or found.shape[1:] != layer.weight.shape[1:]:
            continue
        if len(found) != layer.out_features:
            keys = {f"{name}.{key}" for key in layer.state_dict()}
            ends.append((keys, f"has {len(found)} classes: a new head for {layer.out_features}"))
    for name, layer in model.stem.named_modules(prefix="stem"):
        found = weights.get(f"{name}.weight")
        if isinstance(layer, nn.Conv2d) and found is not None and found.ndim == 4:
            same_otherwise = (found.shape[0], *found.shape[2:]) == (layer.weight.shape[0], *layer.weight.shape[2:])
            if found.shape[1] != layer.in_channels == model.in_channels and same_otherwise:
                says = f"takes {found.shape[1]} channels: a new first convolution for {layer.in_channels}"
                ends.append(({f"{name}.weight"}, says))
    return ends


def _check_fit(
    model: SpikingTransformer,
    ours: Mapping[str, Tensor],
    weights: Mapping[str, Tensor],
    kept: set[str],
    checkpoint: Checkpoint,
) -> None:
    differences = compare(ours, weights, kept)
    if differences.faults:
        name = model.config.get("name", "the model")
        raise ValueError(f"{checkpoint.path} does not fit {name}: {differences}{_what_it_holds(checkpoint, name)}")


def _what_it_holds(checkpoint: Checkpoint, wanted: str) -> str:
    """A sentence for the error of a file that holds another model."""
    from spikeformers.models._identify import identify

    if held := checkpoint.config.get("name"):
        return f". It holds a {held}"
    try:
        likeliest = identify(checkpoint)[0]
    except ValueError:  # like nothing here
        return ""
    if likeliest.name == wanted and not likeliest.overrides:
        return ""
    return f". It looks like {likeliest.refusal or likeliest.call}"
