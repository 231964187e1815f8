"""Teachers for distillation."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from spikeformers.checkpoints.load import build_from
from spikeformers.checkpoints.made_here import made_here
from spikeformers.checkpoints.read import find_weights, read_checkpoint
from spikeformers.checkpoints.shipped import or_a_shipped_name

Pixels = tuple[Sequence[float], Sequence[float]]  # mean and standard deviation of the images' normalisation


class Teacher:
    """A frozen model: `[B, C, H, W]`, or whatever input it takes, `-> [B, K]` logits.

    `scale` and `shift`, one number per channel, convert images from the student's normalisation to the teacher's. The
    teacher is not a submodule of the student, so checkpoints do not contain it.
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


def load_teacher(
    name: str, num_classes: int, pixels: Pixels | None = None, classes: Sequence[str] | None = None
) -> Teacher:
    """A teacher: a timm model, whose weights are downloaded, or a checkpoint of this library, by path or by name.

    `pixels` is the normalisation of the student's images, None if they have none, and `classes` are its classes.

    Raises ValueError if there is no such model or checkpoint, if its weights cannot be downloaded, and if its classes
    differ from the student's.
    """
    model, learnt, known = _ours(name) if find_weights(name).exists() else _timms(name)
    number = getattr(model, "num_classes", None)
    if number != num_classes:
        raise ValueError(
            f"distill.teacher {name} has {number} classes, but the model has {num_classes}: give a teacher of as many"
        )
    for theirs, ours in zip(known or (), classes or (), strict=False):
        if theirs != ours:
            raise ValueError(
                f"distill.teacher {name} has the class {theirs!r} where the data have {ours!r}: give a teacher of the "
                "same classes in the same order"
            )
    if pixels is None or learnt is None:
        return Teacher(model, torch.ones(1), torch.zeros(1))
    (mean, std), (their_mean, their_std) = (tuple(map(torch.tensor, each)) for each in (pixels, learnt))
    return Teacher(model, std / their_std, (mean - their_mean) / their_std)


def _ours(path: str) -> tuple[nn.Module, Pixels | None, Sequence[str] | None]:
    checkpoint = read_checkpoint(path)
    preprocess: dict[str, Any] = checkpoint.settings.get("preprocess") or {}
    learnt = (preprocess["mean"], preprocess["std"]) if "mean" in preprocess and "std" in preprocess else None
    return build_from(checkpoint, trusted=made_here(path)), learnt, checkpoint.settings.get("classes")


def _timms(name: str) -> tuple[nn.Module, Pixels | None, Sequence[str] | None]:
    import timm

    if not timm.is_model(name.partition(".")[0]):
        raise ValueError(
            f"distill.teacher {name!r} is neither a file nor a model of timm: give a checkpoint{or_a_shipped_name()}"
        )
    try:
        model: Any = timm.create_model(name, pretrained=True)
    except (OSError, RuntimeError, ValueError) as error:  # no such weights, or no network
        reason = str(error).partition("\n")[0]
        raise ValueError(f"distill.teacher {name}: no weights to download ({reason}); give a checkpoint") from error
    return model, (model.pretrained_cfg["mean"], model.pretrained_cfg["std"]), None
