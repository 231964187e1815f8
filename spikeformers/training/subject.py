"""Labelled test images for a model to be looked into, prepared as it was trained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset

from spikeformers.data import load_images
from spikeformers.models import SpikingTransformer, create_model, read_checkpoint
from spikeformers.models._checkpoint import build_from
from spikeformers.training.loaders import eval_loader


@dataclass(frozen=True)
class Subject:
    """A model with test images: `settings` are its checkpoint's, or nothing for a model that was just made."""

    name: str
    model: SpikingTransformer
    settings: Mapping[str, Any]
    data: str
    classes: Sequence[str]
    batches: DataLoader


def find_subject(
    model: str, data: str | None = None, *, root: str | Path | None = None, images: int = 256, batch_size: int = 32
) -> Subject:
    """A model by name or checkpoint, in eval mode, with `images` of the test set of `data`, spread evenly over it.

    For a checkpoint the default is the set it was trained on. A model by name is new: made for the set's classes, with
    random weights, and norms set by the first images, without which most of its neurons would be silent.

    Raises what reading and building raise, and ValueError without `data` and where a checkpoint is for other images.
    """
    is_file = Path(model).exists()
    checkpoint = read_checkpoint(model) if is_file else None
    settings = checkpoint.settings if checkpoint else {}
    trained_on = settings.get("recipe", {}).get("data", {})
    name = data or trained_on.get("name")
    if name is None:
        raise ValueError(f"{model} does not say on what to look at it: give --data, a set's name or a folder")
    if images < 1 or batch_size < 1:
        raise ValueError(f"{images} images, {batch_size} at a time, are none: give at least one of each")
    sets = load_images(name, root=root or trained_on.get("root", "data"), validation=0)
    ends = {"num_classes": len(sets.classes), "in_channels": sets.channels}
    new: dict[str, Any] = {"name": model, **ends}
    built = build_from(checkpoint) if checkpoint else create_model(**new).eval()
    for key, value in ends.items():
        if getattr(built, key) != value:
            raise ValueError(f"{name} has {value} {key.removeprefix('num_')}, and {model} takes {getattr(built, key)}")
    preprocess = settings.get("preprocess") or {
        "image_size": built.image_size, "mean": sets.mean, "std": sets.std, "interpolation": sets.interpolation
    }  # fmt: skip
    count = len(sets.test)  # pyright: ignore[reportArgumentType]
    chosen = torch.linspace(0, count - 1, min(images, count)).long().tolist()
    loader = eval_loader(Subset(sets.test, chosen), preprocess, batch_size, 0)
    built = built.to("cuda" if torch.cuda.is_available() else "cpu")
    if not checkpoint:
        set_norms(built, next(iter(loader))[0])
    title = f"{built.config.get('name', model)}" + (f", {Path(model)}" if is_file else "")
    return Subject(title, built, settings, name, sets.classes, loader)


@torch.no_grad()
def set_norms(model: SpikingTransformer, x: Tensor) -> None:
    """Sets a model's running statistics to those of one batch `[B, C, H, W]`."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    model.train()(x.to(next(model.parameters()).device))
    model.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
