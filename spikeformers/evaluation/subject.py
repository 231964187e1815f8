"""Loading a model together with labelled test images, preprocessed as in its training."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from spikeformers.checkpoints.load import build_from
from spikeformers.checkpoints.made_here import made_here
from spikeformers.checkpoints.read import find_weights, read_checkpoint
from spikeformers.data.eval_shards import NOT_COUNTED
from spikeformers.data.loading import eval_loader
from spikeformers.evaluation.test_set import TestSet
from spikeformers.layers.time import time_first
from spikeformers.models import SpikingTransformer
from spikeformers.models.building import rebuild
from spikeformers.models.registry import describe_model, find_family, list_models


@dataclass(frozen=True)
class Subject:
    """A model with test images. `settings` are those of its checkpoint, empty for a new model."""

    name: str
    model: SpikingTransformer
    settings: Mapping[str, Any]
    data: str
    classes: Sequence[str]
    batches: "Batches"


class Batches:
    """Batches of a loader as models take them, `[B, C, H, W]` or `[T, B, C, H, W]`, with labels, as often as asked."""

    def __init__(self, loader: DataLoader):
        self.loader = loader

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[tuple[Tensor, Any]]:
        return ((time_first(x), labels) for x, labels in map(_counted, self.loader) if len(x))


def _counted(batch: tuple[Tensor, Any]) -> tuple[Tensor, Any]:
    """A batch without what stands in for unreadable files. Among masks it stays, as a mask of void."""
    x, labels = batch
    kept = [i for i, label in enumerate(labels) if not _stands_in(label)]
    if len(kept) == len(labels):
        return batch
    return x[kept], labels[kept] if isinstance(labels, Tensor) else [labels[i] for i in kept]


def _stands_in(label: Any) -> bool:
    return isinstance(label, int) or (isinstance(label, Tensor) and label.ndim == 0 and int(label) == NOT_COUNTED)


def load_for_analysis(
    model: str,
    data: str | None = None,
    *,
    root: str | Path | None = None,
    images: int = 256,
    batch_size: int = 32,
    other_classes: bool = False,
) -> Subject:
    """A model by name or checkpoint, in eval mode, with `images` spread evenly over the test set of `data`.

    `data` defaults to the set that a checkpoint was trained on. A model given by name is built for the set's classes
    with random weights; the first images set its norms, without which most of its neurons would be silent. With
    `other_classes` the classes of a checkpoint may differ from the set's, for callers that ignore its predictions.

    Raises what reading and building raise, and ValueError if `data` is missing or does not suit a checkpoint.
    """
    is_file = find_weights(model).exists()
    checkpoint = read_checkpoint(model) if is_file else None
    settings = checkpoint.settings if checkpoint else {}
    if not (is_file or ":" in model):  # not a builder in a user's file, file.py:builder
        find_family(model)
    if images < 1 or batch_size < 1:
        raise ValueError(f"{images} images in batches of {batch_size} leave nothing to run: give at least 1 for both")
    test = TestSet(model, settings, data, root=root, workers=0)
    sets = test.sets
    new: dict[str, Any] = {"name": model, "in_channels": sets.channels}
    if not (other_classes and model in list_models() and not describe_model(model)["num_classes"]):  # has no classes
        new["num_classes"] = len(sets.classes)
    built = build_from(checkpoint, trusted=made_here(checkpoint.path)) if checkpoint else rebuild(new).eval()
    count = len(sets.test)
    chosen = torch.linspace(0, count - 1, min(images, count)).long().tolist()
    batches = Batches(eval_loader(test.prepared(built, chosen, other_classes=other_classes), batch_size, 0))
    built = built.to("cuda" if torch.cuda.is_available() else "cpu")
    if not checkpoint:
        set_norms(built, next(iter(batches))[0])
    title = f"{built.config.get('name', model)}" + (f", {Path(model)}" if is_file else "")
    return Subject(title, built, settings, sets.name, sets.classes, batches)


@torch.no_grad()
def set_norms(model: SpikingTransformer, x: Tensor) -> None:
    """Sets a model's running statistics to those of one batch `[B, C, H, W]` or `[T, B, C, H, W]`."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    model.train().forward_outputs(x.to(next(model.parameters()).device))
    model.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
