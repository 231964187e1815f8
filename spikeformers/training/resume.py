"""Going on with a run: which settings may have changed meanwhile, and whether its data are still the same."""

import hashlib
import logging
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from torch.utils.data import Subset

from spikeformers.checkpoints.made_here import last_start
from spikeformers.data import EventSets, ImageSets
from spikeformers.data.readable import Readable
from spikeformers.training.provenance import changed_files
from spikeformers.training.recipe import Recipe

logger = logging.getLogger("spikeformers")

# Settings that a run may go on with others of, and why: they cannot change what comes out, but for rounding where a
# device (`trainer`) or `memory` is another.
MAY_CHANGE = {
    "out": "where the run lies",
    "run": "what it is called",
    "data.root": "where known sets lie",
    "data.cache": "where frames lie",
    "data.workers": "how many read, not what is read",
    "profile_every": "what is logged",
    "memory": "what is kept for the backward pass: what a model computes stays the same to the bit, gradients but for "
    "rounding",
    "save_minutes": "when it is saved",
    "keep": "how much of it is kept",
    "stop_if_unsaved": "what a full disk does",
    "oversubscribe": "what the machine is asked to bear",
    "trainer": "on what it runs, for how long, and what it logs; but not what _TRAINS lists",
    # The rest if `may_go_on` finds that so:
    "data.name": "the same files lie elsewhere",
    "data.skip_broken": "the same files are trained on; broken ones among the test images are left out",
    "epochs": "more of them go on where it ended",
}
_IF = ("data.name", "data.skip_broken", "epochs")
_TRAINS = (
    "limit_train_batches", "limit_val_batches", "overfit_batches", "val_check_interval", "check_val_every_n_epoch",
    "gradient_clip_algorithm",
)  # fmt: skip


def check_resumable(recipe: Recipe, began_with: Mapping[str, Any], folder: Path, sets: ImageSets | EventSets) -> None:
    """Raises ValueError where a run that began with some settings would come out otherwise by a recipe's.

    Warns of own parts, and of data, that have changed.
    """
    then, now = last_start(folder).get("data"), digest_of(sets, recipe.data.name)
    may = {"data.name", "data.skip_broken"} if then == now else set()
    if recipe.epochs > began_with.get("epochs", recipe.epochs):
        may.add("epochs")
    check_same_settings(recipe, began_with, folder, may)
    for file in changed_files(folder, recipe):
        logger.warning("%s has changed since %s was last started", file, folder)
    if then not in (None, now):
        logger.warning("the files of %s are not those that %s was last started with", recipe.data.name, folder)


def check_same_settings(recipe: Recipe, began_with: Mapping[str, Any], folder: Path, may: Collection[str] = ()) -> None:
    """Raises ValueError where the run in `folder` began with other settings than a recipe's, but for those that `may`
    have changed, and those that always may."""
    began, now = flat_settings(began_with), flat_settings(recipe.to_dict())
    for name in {**began, **now}:
        group, _, field = name.partition(".")
        free = name in {*MAY_CHANGE} - {*_IF} | {*may} or (group == "trainer" and field not in _TRAINS)
        if began.get(name) != now.get(name) and not free:
            raise ValueError(
                f"{name} is {now.get(name)}, and {folder} began with {began.get(name)}: a run goes on with "
                "its own settings, in its settings.yaml; for others name another by --run NAME"
            )


def flat_settings(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by their dotted names, as `model.dim`."""
    flat = {}
    for key, value in settings.items():
        flat |= flat_settings(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def digest_of(sets: ImageSets | EventSets, name: str) -> str:
    """What is trained and validated on, in 16 letters: labels in their order and, of a folder, where each file lies in
    it. Files are not opened."""
    digest = hashlib.sha256()
    folder = str(Path(name).expanduser())
    for split in (sets.train, sets.validation):
        for file, label in _items(split):
            digest.update(f"{file.removeprefix(folder)} {label}\n".encode())
        digest.update(b"\n")
    return digest.hexdigest()[:16]


def _items(split: Any) -> Iterator[tuple[str, int]]:
    """The file, where there is one, and the label of every item of a split, in their order."""
    indices: Any = None
    while isinstance(split, Subset | Readable):
        if isinstance(split, Subset):
            indices = split.indices if indices is None else [split.indices[i] for i in indices]
        split = split.dataset
    labels = getattr(split, "targets", None)
    if labels is None:  # a list, as of recordings
        labels = [label for _, label in split]
    files = getattr(split, "paths", None) or [str(getattr(item, "path", "")) for item, _ in getattr(split, "items", ())]
    for i in range(len(labels)) if indices is None else indices:
        yield files[i] if files else "", int(labels[i])
