"""Labelled test images for a model to be looked into, prepared as it was trained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from spikeformers.checkpoints.load import build_from
from spikeformers.checkpoints.made_here import made_here
from spikeformers.checkpoints.read import read_checkpoint
from spikeformers.data.loading import eval_loader
from spikeformers.evaluation.test_set import TestSet
from spikeformers.layers.time import time_first
from spikeformers.models import SpikingTransformer
from spikeformers.models.registry import describe_model, find_family, list_models, rebuild


@dataclass(frozen=True)
class Subject:
    """A model with test images: `settings` are its checkpoint's, or nothing for a model that was just made."""

    name: str
    model: SpikingTransformer
    settings: Mapping[str, Any]
    data: str
    classes: Sequence[str]
    batches: DataLoader


def load_for_analysis(
    model: str,
    data: str | None = None,
    *,
    root: str | Path | None = None,
    images: int = 256,
    batch_size: int = 32,
    other_classes: bool = False,
) -> Subject:
    """A model by name or checkpoint, in eval mode, with `images` of the test set of `data`, spread evenly over it.

    For a checkpoint the default is the set it was trained on. A model by name is new: made for the set's classes, with
    random weights, and norms set by the first images, without which most of its neurons would be silent. With
    `other_classes` a checkpoint's may be others than the set's, for what makes nothing of its answers.

    Raises what reading and building raise, and ValueError without `data` and where a checkpoint is for other data.
    """
    is_file = Path(model).exists()
    checkpoint = read_checkpoint(model) if is_file else None
    settings = checkpoint.settings if checkpoint else {}
    if not (is_file or ":" in model):  # else a part of one's own, file.py:builder
        find_family(model)
    if images < 1 or batch_size < 1:
        raise ValueError(f"{images} images, {batch_size} at a time, are none: give at least one of each")
    test = TestSet(model, settings, data, root=root, workers=0)
    sets = test.sets
    new: dict[str, Any] = {"name": model, "in_channels": sets.channels}
    if not (other_classes and model in list_models() and not describe_model(model)["num_classes"]):  # it has none
        new["num_classes"] = len(sets.classes)
    built = build_from(checkpoint, trusted=made_here(checkpoint.path)) if checkpoint else rebuild(new).eval()
    count = len(sets.test)
    chosen = torch.linspace(0, count - 1, min(images, count)).long().tolist()
    loader = eval_loader(test.prepared(built, chosen, other_classes=other_classes), batch_size, 0)
    built = built.to("cuda" if torch.cuda.is_available() else "cpu")
    if not checkpoint:
        set_norms(built, time_first(next(iter(loader))[0]))
    title = f"{built.config.get('name', model)}" + (f", {Path(model)}" if is_file else "")
    return Subject(title, built, settings, sets.name, sets.classes, loader)


@torch.no_grad()
def set_norms(model: SpikingTransformer, x: Tensor) -> None:
    """Sets a model's running statistics to those of one batch `[B, C, H, W]` or `[T, B, C, H, W]`."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    model.train()(x.to(next(model.parameters()).device))
    model.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
