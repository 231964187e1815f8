"""Accuracy over time: one pass, read out after every step, with its cost so far."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from spikeformers.analysis.energy import HOROWITZ, Convention, Costs
from spikeformers.analysis.memory_energy import MEMORY, Memory
from spikeformers.analysis.profile import check_batches, profile
from spikeformers.models import SpikingTransformer


@dataclass(frozen=True)
class Anytime:
    """Accuracy after `steps` steps, in percent, and the energy per input up to then, in mJ, over `counted` inputs."""

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
    memory: Memory = MEMORY,
) -> list[Anytime]:
    """Accuracy and energy after each step.

    The prediction after t steps is the mean of the logits so far. In a causal model, a run of t steps gives the same.

    Args:
        model: runs in eval mode; its training mode is restored afterwards.
        batches: `([B, C, H, W] or [T, B, C, H, W], [B] labels)`.
        convention: how energy is counted, by name or as an object.
        costs: picojoules per operation.
        memory: costs of memory, for the convention of that name.

    Returns:
        One entry per step. Energy is measured on runs of the first batch.

    Raises:
        ValueError: the model has parts that look ahead in time, there is no batch, or `batches` is a tensor.
    """
    check_causal(model)
    check_batches(batches)
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
            runs = runs or [profile(model, [x[: t + 1]], costs=costs, memory=memory) for t in range(len(x))]
    finally:
        for module in training:
            module.training = True
    if not samples:
        raise ValueError("there are no batches: give at least one")
    return [
        Anytime(t + 1, 100 * int(hits) / samples, run.total(convention).millijoules, run.samples)
        for t, (hits, run) in enumerate(zip(right, runs, strict=True))
    ]


def check_causal(model: torch.nn.Module) -> None:
    """Raises ValueError if a part of the model looks ahead in time."""
    for name, module in model.named_modules():
        if getattr(module, "causal", True) is False:
            raise ValueError(
                f"{name} ({type(module).__name__}) looks ahead in time, so early predictions differ from those of a "
                "shorter run: use neurons and attention with causal = True, and no pruning"
            )
