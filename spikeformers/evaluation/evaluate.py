"""Accuracy of a model on a labelled set."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from spikeformers.checkpoints.load import build_from
from spikeformers.checkpoints.made_here import made_here
from spikeformers.checkpoints.read import Checkpoint
from spikeformers.data.eval_shards import NOT_COUNTED
from spikeformers.data.loading import eval_loader, unwrap_worker_errors
from spikeformers.deploy.engine import SpikeEngine, spike_engine
from spikeformers.evaluation.test_set import TestSet
from spikeformers.layers.time import time_first
from spikeformers.models import SpikingTransformer

_PLANNED = 16  # images that an engine is planned by


@dataclass(frozen=True)
class Scores:
    """Accuracies in percent and mean cross-entropy over a number of images, recordings or windows, as `kind` says."""

    top1: float
    top5: float
    loss: float
    images: int
    kind: str = "images"
    classes: int = 0  # that the model tells apart
    classes_tested: int = 0  # that any of the images is of

    @property
    def tested_on(self) -> str:
        """How many images or recordings, and of how many classes there is none."""
        count = f"{self.images} {self.kind if self.images != 1 else self.kind.removesuffix('s')}"
        missing = self.classes - self.classes_tested
        return count + (f"; {missing} of {self.classes} classes have no test sample" if missing else "")


@torch.inference_mode()
def evaluate(
    model: SpikingTransformer | SpikeEngine, batches: Iterable[tuple[Tensor, Tensor]], kind: str = "images"
) -> Scores:
    """Scores of a model in eval mode on batches `([B, C, H, W] or [B, T, C, H, W], [B])`, on the model's device.

    `kind` is what they are called. What has the label `NOT_COUNTED` is left out. Raises ValueError where there is none.
    """
    model.eval()
    device = "cpu" if isinstance(model, SpikeEngine) else next(model.parameters()).device
    best = min(5, model.num_classes)
    right1 = right5 = loss = images = 0
    tested: set[int] = set()
    for x, labels in batches:
        x, labels = x[labels != NOT_COUNTED], labels[labels != NOT_COUNTED].to(device)
        if not len(labels):
            continue
        logits = model(time_first(x.to(device))).float()
        right = logits.topk(best).indices == labels[:, None]  # B 5
        right1 += int(right[:, 0].sum())
        right5 += int(right.any(1).sum())
        loss += float(cross_entropy(logits, labels, reduction="sum"))
        images += len(labels)
        tested.update(labels.tolist())
    if not images:
        raise ValueError("there is nothing to evaluate on: the set has no test images")
    shares = 100 * right1 / images, 100 * right5 / images, loss / images
    return Scores(*shares, images, kind, model.num_classes, len(tested))


def evaluate_checkpoint(
    checkpoint: Checkpoint,
    data: str | None = None,
    *,
    root: str | Path | None = None,
    batch_size: int = 128,
    workers: int = 2,
    skip_broken: bool = False,
    weights: torch.dtype | None = None,
    shown: Any = iter,
    **overrides: Any,
) -> Scores:
    """Scores of a checkpoint of ours on the test split of `data`, or else of the set it was trained on.

    A run that was trained here may have parts of one's own.

    With `weights`, float32 or int8, a `spike_engine` planned by the first images is evaluated in the model's place.

    `shown` wraps the loader, for a progress bar; `overrides` go to `create_model`.

    Raises what building and reading raise, and ValueError where the set's classes or channels are not the model's.
    """
    model = build_from(checkpoint, trusted=made_here(checkpoint.path), **overrides)
    where: Any = dict(root=root, workers=workers, skip_broken=skip_broken)
    test_set = TestSet(str(checkpoint.path), checkpoint.settings, data, **where)
    test = test_set.prepared(model)
    loader = eval_loader(test, batch_size, workers)
    with unwrap_worker_errors():
        if weights is None:
            answers = model.to("cuda" if torch.cuda.is_available() else "cpu")
        else:
            x, _ = next(iter(loader))
            answers = spike_engine(model, time_first(x[:_PLANNED]), weights=weights)
        return evaluate(answers, shown(loader), test_set.sets.counted_in)
