"""Checks before a run resumes: which settings may have changed, and whether its data are still the same."""

import hashlib
import logging
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from torch.utils.data import Subset

from spikeformers.checkpoints.made_here import last_start
from spikeformers.data.dense.boxes import Boxes
from spikeformers.data.readable import Readable
from spikeformers.data.sets import Sets
from spikeformers.training.precision import precision_here
from spikeformers.training.provenance import changed_files
from spikeformers.training.recipe import Recipe

logger = logging.getLogger("spikeformers")

# Settings that may change when a run resumes, each with the reason why that cannot change the result, except by
# rounding for another device (`trainer`) or `memory`.
MAY_CHANGE = {
    "out": "the place of the run",
    "run": "its name",
    "data.root": "the place of known sets",
    "data.cache": "the place of frames",
    "data.workers": "how many processes read, not what they read",
    "profile_every": "logging only",
    "memory": "what is kept for the backward pass: outputs stay the same to the bit, gradients differ by rounding",
    "save_minutes": "when checkpoints are written",
    "keep": "how many checkpoints stay",
    "stop_if_unsaved": "the reaction to a full disk",
    "oversubscribe": "the load on the machine",
    "trainer": "device, duration and logging; fields listed in _TRAINS, and the number of processes, may not change",
    # These may change only if `check_resumable` finds:
    "data.name": "the same files at another place",
    "data.skip_broken": "the same training files; broken test images are skipped",
    "epochs": "more epochs than before, which continue the run",
}
_IF = ("data.name", "data.skip_broken", "epochs")
_TRAINS = (
    "limit_train_batches", "limit_val_batches", "check_val_every_n_epoch", "gradient_clip_algorithm",
)  # fmt: skip


def check_resumable(recipe: Recipe, began_with: Mapping[str, Any], folder: Path, sets: Sets) -> None:
    """Raises ValueError if the recipe would change the result of a run that began with the settings `began_with`.

    Warns about files of parts, and about data, that have changed, and of a machine that trains in another precision.
    """
    before = last_start(folder)
    then, now = before.get("data"), digest_of(sets, recipe.data.name)
    may = {"data.name", "data.skip_broken"} if then == now else set()
    if recipe.epochs > began_with.get("epochs", recipe.epochs):
        may.add("epochs")
    check_same_settings(recipe, began_with, folder, may)
    for file in changed_files(folder, recipe):
        logger.warning("%s has changed since %s was last started", file, folder)
    if then not in (None, now):
        logger.warning("the files of %s have changed since %s was last started", recipe.data.name, folder)
    if (precision := precision_here(recipe)) != before.get("precision", precision):
        logger.warning("%s was last trained in precision %s, and goes on in %s", folder, before["precision"], precision)


def check_processes_alike(checkpoint: Path, then: int, now: int) -> None:
    """Raises ValueError for another number of processes: an epoch would have other updates."""
    if then != now:
        raise ValueError(
            f"{checkpoint} is from a run with {then} process(es), but this one has {now}: set trainer.devices and "
            f"num_nodes as they were, or start another run from it with --start_from {checkpoint} --run NAME"
        )


def check_same_settings(recipe: Recipe, began_with: Mapping[str, Any], folder: Path, may: Collection[str] = ()) -> None:
    """Raises ValueError if the recipe differs from the settings that the run in `folder` began with, except in
    settings that always may change and those in `may`."""
    plain = Recipe(model={"name": ""}).to_dict()  # fields that are newer than the run have their defaults
    began = {
        **{key: value for key, value in flat_settings(plain).items() if not key.startswith("model.")},
        **flat_settings(began_with),
    }
    now = flat_settings(recipe.to_dict())
    for name in {**began, **now}:
        group, _, field = name.partition(".")
        free = name in {*MAY_CHANGE} - {*_IF} | {*may} or (group == "trainer" and field not in _TRAINS)
        if began.get(name) != now.get(name) and not free:
            raise ValueError(
                f"{name} is {now.get(name)}, but {folder} began with {began.get(name)}: resume with the run's own "
                "settings, in its settings.yaml, or start another run with --run NAME"
            )


def flat_settings(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted names, such as `model.dim`."""
    flat = {}
    for key, value in settings.items():
        flat |= flat_settings(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def digest_of(sets: Sets, name: str) -> str:
    """A digest, 16 letters, of the training and validation data: labels in order and, for a folder, the relative path
    of each file. Files are not opened."""
    digest = hashlib.sha256()
    folder = str(Path(name).expanduser())
    for split in (sets.train, sets.validation):
        for file, label in _items(split):
            digest.update(
                f"{file.removeprefix(folder)} {label.removeprefix(folder)}\n".encode("utf-8", "surrogateescape")
            )
        digest.update(b"\n")
    return digest.hexdigest()[:16]


def _items(split: Any) -> Iterator[tuple[str, str]]:
    """The file, or "", and the label of every item of a split, in order: a class's number, boxes, or a mask's file."""
    indices: Any = None
    while isinstance(split, Subset | Readable):
        if isinstance(split, Subset):
            indices = split.indices if indices is None else [split.indices[i] for i in indices]
        split = split.dataset
    labels = getattr(split, "targets", None)
    if labels is None:  # a plain list, such as one of recordings
        labels = [label for _, label in split]
    files = getattr(split, "paths", None) or [str(getattr(item, "path", "")) for item, _ in getattr(split, "items", ())]
    for i in range(len(labels)) if indices is None else indices:
        yield files[i] if files else "", str(labels[i] if isinstance(labels[i], str | Boxes) else int(labels[i]))
