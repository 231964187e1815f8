"""Accuracy against time: one pass, read out after every step, with what it has cost so far."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from spikeformers.analysis.energy import HOROWITZ, Convention, Costs
from spikeformers.analysis.profile import profile
from spikeformers.models import SpikingTransformer


@dataclass(frozen=True)
class Anytime:
    """Answers after `steps` steps: accuracy in percent, and an input's energy until then in mJ, mean of `counted`."""

    steps: int
    top1: float
    millijoules: float
    counted: int


@torch.no_grad()
def anytime(
    model: SpikingTransformer,
    batches: Iterable[tuple[Tensor, Tensor]],
    *,
    convention: str | Convention = "strict",
    costs: Costs = HOROWITZ,
) -> list[Anytime]:
    """Accuracy and cost after each step, on batches `([B, C, H, W] or [T, B, C, H, W], [B] labels)`.

    The answer after t steps is the mean of the logits so far, which is what a run of t steps gives, since nothing looks
    ahead. The cost is counted on such runs of the first batch.

    Raises ValueError for a model with parts that look ahead, and where there is no batch.
    """
    check_causal(model)
    device = next(model.parameters()).device
    training = [module for module in model.modules() if module.training]
    right, samples = torch.zeros(0), 0
    runs = []
    try:
        model.eval()
        for x, labels in batches:
            x, labels = model._sequence(x.to(device)), labels.to(device)
            logits = model.forward_steps(x).float().cumsum(0)  # T B K
            hits = (logits.argmax(-1) == labels).sum(1).cpu()  # T
            right = right + hits if samples else hits
            samples += len(labels)
            runs = runs or [profile(model, [x[: t + 1]], costs=costs) for t in range(len(x))]
    finally:
        for module in training:
            module.training = True
    if not samples:
        raise ValueError("there is nothing to read out: give at least one batch")
    return [
        Anytime(t + 1, 100 * int(hits) / samples, run.total(convention).millijoules, run.samples)
        for t, (hits, run) in enumerate(zip(right, runs, strict=True))
    ]


def check_causal(model: torch.nn.Module) -> None:
    """Raises ValueError for a model with a part that looks ahead in time."""
    for name, module in model.named_modules():
        if getattr(module, "causal", True) is False:
            raise ValueError(
                f"{name} ({type(module).__name__}) looks ahead in time, so that an answer before the last step is not "
                "that of a shorter run: use neurons and attention with causal = True"
            )
