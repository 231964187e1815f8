"""Load weights into a model, and build the model that a file describes."""

import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from spikeformers.checkpoints.hub import download, is_repository
from spikeformers.checkpoints.identify import identify
from spikeformers.checkpoints.keys import check_loadable, translate
from spikeformers.checkpoints.layout import compare
from spikeformers.checkpoints.read import WEIGHTS, Checkpoint, read_checkpoint
from spikeformers.layers.layer_scale import LayerScale
from spikeformers.layers.quantizer import requantized
from spikeformers.models.building import rebuild
from spikeformers.models.network import SpikingTransformer
from spikeformers.models.own_code import own_files, user_code_errors
from spikeformers.models.parts import find_part, slot_of
from spikeformers.models.registry import find_family

logger = logging.getLogger("spikeformers")


def load_checkpoint(
    model: SpikingTransformer, path: str | Path, new: Collection[str] = (), trunk_only: bool = False
) -> SpikingTransformer:
    """Loads weights into a model, in place.

    The model keeps its new head if the file has other `num_classes`, its new first convolution if the file has other
    `in_channels`, and its new neck and head if the file holds a classifier and the model is a detector or segmenter. If
    the model has quantised weights and the file has not, the quantizers start from the file's weights. All other keys
    must match. A log line names every part that stays new or is left out.

    Args:
        model: The model.
        path: A run folder or weight file, with our keys or with those of the family's released code.
        new: Parts that the file may lack: "head", "stem" (the first convolution), "scales" (of the branches).
        trunk_only: Whether to ignore the file's additional keys, such as a pre-training decoder.

    Returns:
        The same model.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged, refused or empty, a weight is not finite, or keys or shapes differ; the first
            ten are named.
    """
    return _load(model, read_checkpoint(path), path, new, trunk_only)


def _load(
    model: SpikingTransformer,
    checkpoint: Checkpoint,
    path: str | Path,
    new: Collection[str] = (),
    trunk_only: bool = False,
) -> SpikingTransformer:
    ours = model.state_dict()
    weights = checkpoint.weights
    if (name := model.config.get("name")) and ":" not in name:
        family = find_family(name)
        if not trunk_only:
            check_loadable(weights, family, path)
        weights = translate(weights, family, model.config, ours)
    if trunk_only and (unused := [key for key in weights if key not in ours]):
        weights = {key: value for key, value in weights.items() if key in ours}
        logger.warning("%s also has %s, which the model lacks: left out", path, _parts(unused))
    may_be_new = {key for what in new for key in _KEYS_OF[what](model)}
    new_ends = _new_ends(model, weights, checkpoint)
    quantizers = {key for key in ours if ".quantizer." in key}
    unquantized = quantizers and not any(".quantizer." in key for key in weights)
    kept = {key for key in ours if key.endswith("num_batches_tracked")} - set(weights)  # some files omit them
    kept |= {key for keys, _ in new_ends for key in keys}
    if unquantized:
        kept |= quantizers
    lacking = [key for key in sorted(may_be_new - kept) if not _fits(weights.get(key), ours[key])]
    kept |= {*lacking}
    weights = {key: value for key, value in weights.items() if key not in kept}
    _check_fit(model, ours, weights, kept, checkpoint)
    if odd := next((key for key, weight in weights.items() if not (weight.is_meta or weight.isfinite().all())), None):
        raise ValueError(f"{checkpoint.path} is damaged: {odd} holds numbers that are not finite")
    for _, what in new_ends:
        logger.warning("%s %s", checkpoint.path, what)
    if lacking:
        logger.warning("%s has no weights for %s: they keep their initial values", path, _parts(lacking))
    model.load_state_dict({**ours, **weights})
    if unquantized:
        requantized(model)
        logger.warning("%s has weights of full precision: the quantizers start from them", path)
    return model


def from_pretrained(path: str | Path, *, revision: str | None = None, **overrides: Any) -> SpikingTransformer:
    """Builds the model that a spikeformers checkpoint describes, and loads its weights.

    Args:
        path: A folder or file; if there is none, `owner/name` is a repository on the Hugging Face Hub.
        revision: A branch, tag or commit of that repository.
        **overrides: Arguments for `create_model`. Pass user-defined parts here: a file that names one is refused
            otherwise, because importing it would run its code.

    Returns:
        The model, in eval mode.

    Raises:
        FileNotFoundError: There is no such file or repository, or the Hub cannot be reached.
        ValueError: The file does not describe its model or names a part of yours, or what `load_checkpoint` raises.
    """
    if not Path(path).exists() and is_repository(str(path)):
        path = download(str(path), WEIGHTS, revision)
    elif revision is not None:
        raise ValueError(f"{path} has no revision {revision!r}: only a Hub repository has one; leave it out")
    checkpoint = read_checkpoint(path)
    return build_from(checkpoint, **overrides)


def build_from(checkpoint: Checkpoint, *, trusted: bool = False, **overrides: Any) -> SpikingTransformer:
    """`from_pretrained` for a checkpoint in memory; a `trusted` one may name user-defined parts."""
    if not checkpoint.config:
        raise ValueError(
            f"{checkpoint.path} does not say which model it holds: name it with --model or create_model(...); "
            f"`spikeformers identify {checkpoint.path}` says what it looks like"
        )
    given = {key: find_part(slot, value) if (slot := slot_of(key)) else value for key, value in overrides.items()}
    files = own_files(checkpoint.config) if trusted else set()
    with user_code_errors(files):
        model = rebuild({**checkpoint.config, **given}, allow_foreign=trusted)
    return _load(model, checkpoint, checkpoint.path).eval()


def _new_ends(
    model: SpikingTransformer, weights: Mapping[str, Tensor], checkpoint: Checkpoint
) -> list[tuple[set[str], str]]:
    """Keys that do not match because the file has other classes or channels, with a log line for each end."""
    ends: list[tuple[set[str], str]] = []
    ours = model.state_dict()
    config = checkpoint.config
    if model.task != "classification" and not any(key.startswith("neck.") for key in weights):
        theirs = {key for key in weights if key.startswith("head.")}
        ends.append((_head(model) | theirs, "holds a classifier: neck and head are new"))
    headless = model.num_classes == 0 != config.get("num_classes")
    if headless and (keys := {key for key in weights if key.startswith("head.") and key not in ours}):
        ends.append((keys, "has a head: it is left out, for 0 classes"))
    if model.num_classes and config.get("num_classes") == 0:
        keys = {key for key in ours if key.startswith("head.") and key not in weights}
        ends.append((keys, f"has no classes: a new head for {model.num_classes}"))
    for name, layer in model.head.named_modules(prefix="head"):
        found = weights.get(f"{name}.weight")
        if not isinstance(layer, nn.Linear | nn.Conv2d) or found is None or found.shape[1:] != layer.weight.shape[1:]:
            continue
        if len(found) != len(layer.weight) and model.num_classes != config.get("num_classes"):
            keys = {f"{name}.{key}" for key in layer.state_dict()}
            theirs = config.get("num_classes", len(found))
            ends.append((keys, f"has {theirs} classes: a new head for {model.num_classes}"))
    for name, layer in model.stem.named_modules(prefix="stem"):
        found = weights.get(f"{name}.weight")
        if isinstance(layer, nn.Conv2d) and found is not None and found.ndim == 4:
            same_otherwise = (found.shape[0], *found.shape[2:]) == (layer.weight.shape[0], *layer.weight.shape[2:])
            other = found.shape[1] != layer.in_channels == model.in_channels != config.get("in_channels")
            if other and same_otherwise:
                change = f"takes {found.shape[1]} channels: a new first convolution for {layer.in_channels}"
                ends.append(({f"{name}.weight"}, change))
    return ends


def _first_convs(model: SpikingTransformer) -> set[str]:
    """The weights of the convolutions on the image."""
    convs = model.stem.named_modules(prefix="stem")
    return {f"{n}.weight" for n, m in convs if isinstance(m, nn.Conv2d) and m.in_channels == model.in_channels}


def _fits(found: Tensor | None, wanted: Tensor) -> bool:
    return found is not None and found.shape == wanted.shape


def _scales(model: SpikingTransformer) -> set[str]:
    return {f"{name}.scale" for name, module in model.named_modules() if isinstance(module, LayerScale)}


def _head(model: SpikingTransformer) -> set[str]:
    """Behind the trunk: the head, and a detector's neck."""
    return {key for key in model.state_dict() if key.startswith(("head.", "neck."))}


_KEYS_OF = {"head": _head, "stem": _first_convs, "scales": _scales}


def _parts(keys: Collection[str]) -> str:
    """Keys without block numbers and their last word: `head.linear, blocks.scale`."""
    names = dict.fromkeys(
        ".".join(word for word in key.rpartition(".")[0].split(".") if not word.isdigit()) or key for key in keys
    )
    return ", ".join([*names][:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


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
    """The last sentence of the error for a file of another model."""
    if held := checkpoint.config.get("name"):
        return f". It holds a {held}"
    try:
        likeliest = identify(checkpoint)[0]
    except ValueError:  # resembles none
        return ""
    if likeliest.name == wanted and not likeliest.overrides:
        return ""
    return f". It looks like {likeliest.refusal or likeliest.call}"
