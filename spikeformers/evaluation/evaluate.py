"""Accuracy of a model on a labelled set."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from spikeformers.checkpoints.load import build_from
from spikeformers.checkpoints.made_here import made_here
from spikeformers.checkpoints.read import Checkpoint
from spikeformers.data.eval_shards import NOT_COUNTED
from spikeformers.data.loading import eval_loader, unwrap_worker_errors
from spikeformers.evaluation.dense import METERS, evaluate_dense
from spikeformers.evaluation.test_set import TestSet
from spikeformers.layers.time import time_first
from spikeformers.models import SpikingTransformer

if TYPE_CHECKING:
    from spikeformers.deploy.engine import SpikeEngine
    from spikeformers.deploy.engine.making import DenseEngine

_PLANNED = 16  # images to plan an engine with


@dataclass(frozen=True)
class Scores:
    """Accuracies in percent and mean cross-entropy over images, recordings or windows (`kind`)."""

    top1: float
    top5: float
    loss: float
    images: int
    kind: str = "images"
    classes: int = 0  # of the model
    classes_tested: int = 0  # classes with at least one test sample

    @property
    def tested_on(self) -> str:
        """The number of images or recordings, and of classes without a test sample."""
        count = f"{self.images} {self.kind if self.images != 1 else self.kind.removesuffix('s')}"
        missing = self.classes - self.classes_tested
        return count + (f"; {missing} of {self.classes} classes have no test sample" if missing else "")

    @property
    def headline(self) -> str:
        """The main number, in words."""
        return f"accuracy {self.top1:.2f} %"

    @property
    def told(self) -> str:
        """All numbers, in words."""
        return f"top-1 {self.top1:.2f} %, top-5 {self.top5:.2f} %, loss {self.loss:.4f}, {self.tested_on}"


@torch.inference_mode()
def evaluate(
    model: "SpikingTransformer | SpikeEngine | DenseEngine",
    batches: Iterable[tuple[Tensor, Any]],
    kind: str = "images",
    classes: Sequence[str] = (),
) -> Any:
    """Scores of a model in eval mode on batches `([B, C, H, W] or [B, T, C, H, W], [B])`, on the model's device.

    `kind` names the samples, `classes` a detector's or segmenter's classes, whose scores are those of
    `evaluate_dense`. Samples with the label `NOT_COUNTED` are skipped. Raises ValueError if none remain.
    """
    if getattr(getattr(model, "model", model), "task", "classification") in METERS:  # an engine has its model
        return evaluate_dense(model, batches, classes or [*map(str, range(model.num_classes))], kind)
    model.eval()
    device = next((parameter.device for parameter in model.parameters()), "cpu")  # an engine has none
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
    progress: Any = iter,
    **overrides: Any,
) -> Any:
    """Scores of a checkpoint on the test split of `data`, by default the set it was trained on.

    A run that was trained here may use parts from a user's own files.

    With `weights`, float32 or int8, a `spike_engine` planned with the first images is evaluated instead of the model.

    `progress` wraps the loader, for a progress bar. `overrides` go to `create_model`.

    Raises what building and reading raise, and ValueError if the set's classes or channels differ from the model's.
    """
    model = build_from(checkpoint, trusted=made_here(checkpoint.path), **overrides)
    where: Any = dict(root=root, workers=workers, skip_broken=skip_broken)
    test_set = TestSet(str(checkpoint.path), checkpoint.settings, data, **where)
    test = test_set.prepared(model)
    loader = eval_loader(test, batch_size, workers)
    with unwrap_worker_errors():
        if weights is None:
            evaluated: Any = model.to("cuda" if torch.cuda.is_available() else "cpu")
        else:
            from spikeformers.deploy.engine import spike_engine  # imports torch's tracer

            x, _ = next(iter(loader))
            evaluated = spike_engine(model, time_first(x[:_PLANNED]), weights=weights)
        return evaluate(evaluated, progress(loader), test_set.sets.counted_in, test_set.sets.classes)
