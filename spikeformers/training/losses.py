"""Training losses: against labels, and against a teacher."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div, mse_loss
from torchmetrics import MeanMetric

from spikeformers.data.eval_shards import NOT_COUNTED
from spikeformers.models import SpikingTransformer
from spikeformers.models.measure import MEASURES
from spikeformers.models.sdt_v3_mae import MaskedAutoencoder
from spikeformers.training.dense_losses import DENSE_OBJECTIVES
from spikeformers.training.firing_penalty import FiringPenalty
from spikeformers.training.recipe import Recipe
from spikeformers.training.teacher import Teacher

LabelLoss = Callable[..., Tensor]  # logits [T, B, K] and labels [B] or targets [B, K] -> a number


def mean_over_steps(steps: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """Cross-entropy of the logits' mean over time: `[T, B, K], [B] or [B, K] -> []`."""
    return cross_entropy(steps.mean(0), targets, label_smoothing=label_smoothing)


def tet(
    steps: Tensor, targets: Tensor, *, target: float = 1.0, weight: float = 0.0, label_smoothing: float = 0.0
) -> Tensor:
    """Temporal efficient training, a loss at every step: `[T, B, K], [B] or [B, K] -> []`.

    `(1 - weight)` times the mean of the steps' cross-entropies, plus `weight` times the mean squared distance of all
    logits from `target`. Deng et al., ICLR 2022, arXiv:2202.11946.
    """
    each = [cross_entropy(logits, targets, label_smoothing=label_smoothing) for logits in steps]
    loss = torch.stack(each).mean()
    if weight == 0:
        return loss
    return (1 - weight) * loss + weight * mse_loss(steps.float(), torch.full_like(steps, target, dtype=torch.float32))


def hard_distillation(logits: Tensor, taught: Tensor) -> Tensor:
    """Cross-entropy against the teacher's top class: `[B, K], [B, K] -> []`. DeiT, arXiv:2012.12877."""
    return cross_entropy(logits, taught.argmax(-1))


def soft_distillation(logits: Tensor, taught: Tensor, *, temperature: float = 1.0) -> Tensor:
    """KL divergence from the teacher's probabilities at a temperature, times its square: `[B, K], [B, K] -> []`.

    Hinton et al., 2015, arXiv:1503.02531.
    """
    ours, theirs = ((x.float() / temperature).log_softmax(-1) for x in (logits, taught))
    return kl_div(ours, theirs, reduction="batchmean", log_target=True) * temperature**2


class Objective:
    """A recipe's supervised loss.

    `objective(model, x, targets)` takes images `[B, C, H, W]` or sequences `[T, B, C, H, W]` and labels `[B]` or
    targets `[B, K]`, and returns the loss and logits `[B, K]`. If the model has two heads, the second learns from the
    teacher, and the logits are their average.
    """

    labelled, measure = True, MEASURES["classification"]

    def __init__(self, recipe: Recipe, model: SpikingTransformer, teacher: Teacher | None = None):
        loss, distill = recipe.loss, recipe.distill
        self.labels: LabelLoss = (
            partial(tet, target=loss.tet_target, weight=loss.tet_weight) if loss.name == "tet" else mean_over_steps
        )
        self.label_smoothing = recipe.label_smoothing
        self.firing = FiringPenalty(model, loss.firing_rate, loss.firing_weight)
        self.teacher, self.weight = teacher, distill.weight
        self.taught = (
            hard_distillation if distill.name == "hard" else partial(soft_distillation, temperature=distill.temperature)
        )

    def __call__(self, model: SpikingTransformer, x: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        # Mixup has already smoothed its targets.
        labels = self.labels if targets.ndim == 2 else partial(self.labels, label_smoothing=self.label_smoothing)
        with self.firing:
            heads = [model.forward_steps(x)] if self.teacher is None else [*model.forward_heads(x)]
        loss = labels(heads[0], targets)
        if self.teacher is not None:
            taught = self.taught(heads[-1].mean(0), self.teacher(x))
            loss = (1 - self.weight) * loss + self.weight * taught
        return loss + self.firing(), torch.stack(heads).mean((0, 1))

    def judge(self, model: SpikingTransformer, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The metrics of evaluation: cross-entropies `[B]`, whatever the training loss, and logits `[B, K]`."""
        logits = model(x)
        return cross_entropy(logits, labels, ignore_index=NOT_COUNTED, reduction="none"), logits

    def meter(self, model: SpikingTransformer) -> "Meter":
        return Meter(self.judge)


class Reconstruction:
    """The loss of a masked autoencoder, without labels or logits.

    Raises ValueError for settings that a masked autoencoder cannot be trained with.
    """

    labelled, measure = False, MEASURES["classification"]
    teacher = None

    def __init__(self, recipe: Recipe, model: MaskedAutoencoder, teacher: Teacher | None = None):
        mixing = recipe.augment.mixup > 0 or recipe.augment.cutmix > 0
        for name, is_set in (
            ("memory lean", recipe.memory == "lean"),
            ("distill.teacher", teacher is not None),
            ("augment.mixup and cutmix", mixing),
            ("loss.name tet", recipe.loss.name == "tet"),
            ("loss.firing_weight", recipe.loss.firing_weight > 0),
            ("label_smoothing", recipe.label_smoothing > 0),
        ):
            if is_set:
                raise ValueError(f"{name} does not apply to a masked autoencoder: leave it out")

    def __call__(self, model: MaskedAutoencoder, x: Tensor, targets: Tensor) -> tuple[Tensor, None]:
        return model.reconstruct(x), None

    def judge(self, model: MaskedAutoencoder, x: Tensor, labels: Tensor) -> tuple[Tensor, None]:
        """The batch's loss, repeated `[B]` times, with the same patches masked at every evaluation."""
        return model.reconstruct(x, torch.Generator(x.device).manual_seed(0)).expand(len(labels)), None

    def meter(self, model: MaskedAutoencoder) -> "Meter":
        return Meter(self.judge)


class Meter(nn.Module):
    """Means, over a split, of the loss and of the accuracy in percent, if there is one.

    Lightning's own means weigh processes by whole numbers of images, and round their average down.
    """

    def __init__(self, judge: Callable[..., tuple[Tensor, Tensor | None]]):
        super().__init__()
        self.judge = judge
        self.means = nn.ModuleDict({"loss": MeanMetric(), "acc": MeanMetric()})

    def update(self, model: nn.Module, x: Tensor, labels: Tensor) -> Tensor:
        """Adds a batch, and returns its mean loss."""
        losses, logits = self.judge(model, x, labels)  # B, B K
        values = {"loss": losses}
        if logits is not None:
            values["acc"] = (logits.argmax(-1) == labels) * 100.0
        for name, each in values.items():
            self._of(name).update(each.float(), (labels != NOT_COUNTED).float())
        return losses.mean()

    def compute(self) -> dict[str, float]:
        return {name: self._of(name).compute() for name in self.means if self._of(name).update_called}

    def reset(self) -> None:
        for name in self.means:
            self._of(name).reset()

    def _of(self, name: str) -> Any:
        return self.means[name]


# Objectives of models that learn without labels. No other code distinguishes these models, nor those for other tasks.
_OWN_OBJECTIVES: dict[type[SpikingTransformer], Any] = {MaskedAutoencoder: Reconstruction}


def make_objective(recipe: Recipe, model: SpikingTransformer, teacher: Teacher | None) -> Any:
    """The training objective of a model: its loss, its evaluation, whether it is `labelled`, and its `measure`.

    Raises ValueError for settings that the model cannot be trained with.
    """
    task = getattr(model, "task", "")
    if recipe.loss.class_balance and task != "segmentation":
        raise ValueError(f"loss.class_balance weighs the pixels of masks, but the model is for {task}: leave it out")
    own = next((objective for kind, objective in _OWN_OBJECTIVES.items() if isinstance(model, kind)), Objective)
    return DENSE_OBJECTIVES.get(task, own)(recipe, model, teacher)
