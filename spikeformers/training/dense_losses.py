"""The objectives of detectors and segmenters."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from spikeformers.data.dense.labelled import VOID
from spikeformers.evaluation.dense import METERS
from spikeformers.models.measure import MEASURES
from spikeformers.training.firing_penalty import FiringPenalty
from spikeformers.training.recipe import Recipe


class DenseObjective:
    """What the objectives of detectors and segmenters share.

    Raises ValueError for settings that do not apply to them, and ImportError if evaluating needs a missing library.
    """

    labelled = True
    teacher = None

    def __init__(self, recipe: Recipe, model: Any, teacher: Any = None):
        for name, is_set in (
            ("distill.teacher", teacher is not None),
            ("augment.mixup", recipe.augment.mixup > 0),
            ("augment.cutmix", model.task == "detection" and recipe.augment.cutmix > 0),
            ("loss.name tet", recipe.loss.name == "tet"),
            ("label_smoothing", model.task == "detection" and recipe.label_smoothing > 0),
        ):
            if is_set:
                raise ValueError(f"{name} does not apply to a model for {model.task}: leave it out")
        self.label_smoothing = recipe.label_smoothing
        self.firing = FiringPenalty(model, recipe.loss.firing_rate, recipe.loss.firing_weight)
        self.measure = MEASURES[model.task]
        self.meter(model)  # raises now for a missing library

    def meter(self, model: Any) -> Any:
        """Collects what evaluating each epoch tells."""
        return METERS[model.task](model)


class Detection(DenseObjective):
    """The sum of a detector's losses: boxes of the images `[B, C, H, W]` or `[T, B, C, H, W]` as B dicts."""

    def __call__(self, model: Any, x: Tensor, targets: list[dict[str, Tensor]]) -> tuple[Tensor, dict[str, Tensor]]:
        with self.firing:
            losses = model(x, targets)
        parts = {f"loss/{name}": loss.detach() for name, loss in losses.items()}
        return torch.stack([*losses.values()]).sum() + self.firing(), parts


class Segmentation(DenseObjective):
    """Cross-entropy over the pixels of masks `[B, H, W]` that are not void; the mean has weights `[K]` of classes."""

    class_weights: Tensor | None = None  # all pixels weigh alike

    def __call__(self, model: Any, x: Tensor, targets: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        with self.firing:
            logits = model(x)  # B K H W
        known = targets != VOID
        pixels = known.sum().clamp(min=1)
        weights = None if self.class_weights is None else self.class_weights.to(logits)
        share = pixels if weights is None else (weights[targets.where(known, 0)] * known).sum().clamp(min=1e-6)
        how: Any = dict(ignore_index=VOID, label_smoothing=self.label_smoothing, reduction="sum")
        loss = cross_entropy(logits, targets, weights, **how) / share
        right = (logits.argmax(1) == targets).sum() / pixels
        return loss + self.firing(), {"acc": 100 * right.detach()}


DENSE_OBJECTIVES: dict[str, Any] = {"detection": Detection, "segmentation": Segmentation}
