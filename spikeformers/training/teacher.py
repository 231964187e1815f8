"""A trained model to learn from."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

Pixels = tuple[Sequence[float], Sequence[float]]  # the mean and deviation that images were normalised by


class Teacher:
    """A model that answers and does not learn: `[B, C, H, W]`, or what it takes, `-> [B, K]` logits.

    `scale` and `shift`, a number a channel, turn images as the student sees them into those it was trained on. It is
    no part of the student: no checkpoint holds it.
    """

    def __init__(self, model: nn.Module, scale: Tensor, shift: Tensor):
        self.model = model.eval().requires_grad_(False)
        self.scale, self.shift = scale.view(-1, 1, 1), shift.view(-1, 1, 1)

    def to(self, device: torch.device) -> None:
        self.model.to(device)
        self.scale, self.shift = self.scale.to(device), self.shift.to(device)

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        return self.model(x * self.scale + self.shift)


def load_teacher(name: str, num_classes: int, seen: Pixels | None = None) -> Teacher:
    """A teacher by timm's name of a model, whose weights are downloaded, or from a checkpoint of ours.

    `seen` is what the student's images are normalised by, None where they are not.

    Raises ValueError for a name that neither has, for weights that cannot be had, and for other classes than the
    student's.
    """
    model, learnt = _ours(name) if Path(name).exists() else _timms(name)
    classes = getattr(model, "num_classes", None)
    if classes != num_classes:
        raise ValueError(f"distill.teacher {name} tells {classes} classes apart, and the model {num_classes}")
    if seen is None or learnt is None:
        return Teacher(model, torch.ones(1), torch.zeros(1))
    (mean, std), (their_mean, their_std) = (tuple(map(torch.tensor, pixels)) for pixels in (seen, learnt))
    return Teacher(model, std / their_std, (mean - their_mean) / their_std)


def _ours(path: str) -> tuple[nn.Module, Pixels | None]:
    from spikeformers.checkpoints.load import build_from
    from spikeformers.checkpoints.made_here import made_here
    from spikeformers.checkpoints.read import read_checkpoint

    checkpoint = read_checkpoint(path)
    preprocess: dict[str, Any] = checkpoint.settings.get("preprocess") or {}
    learnt = (preprocess["mean"], preprocess["std"]) if "mean" in preprocess and "std" in preprocess else None
    return build_from(checkpoint, trusted=made_here(path)), learnt


def _timms(name: str) -> tuple[nn.Module, Pixels | None]:
    import timm

    if not timm.is_model(name.partition(".")[0]):
        raise ValueError(f"distill.teacher {name!r} is neither a file nor one of timm's models: give a checkpoint")
    try:
        model: Any = timm.create_model(name, pretrained=True)
    except (OSError, RuntimeError, ValueError) as error:  # no such weights, or no network
        reason = str(error).partition("\n")[0]
        raise ValueError(f"distill.teacher {name} has no weights to be had here ({reason}): give a file") from error
    return model, (model.pretrained_cfg["mean"], model.pretrained_cfg["std"])
