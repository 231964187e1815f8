"""Inference without norms: each becomes part of the convolution before it."""

import copy
from typing import TypeVar

from torch import nn

from spikeformers.models import SpikingTransformer

Model = TypeVar("Model", bound=nn.Module)


def fold(model: Model) -> Model:
    """A copy of a model for inference, in eval mode, whose norms and chains of linear layers are single convolutions.

    Every part that has a method `folded` is replaced by what that returns: `ConvNorm` and its kin fold the norm into
    the convolution, `RepConv` becomes one 3x3 convolution and `RepLinear` one of 1x1. Outputs are the same but for
    rounding. The copy has other weights under other keys, so it has no `config` to be rebuilt from: save the model that
    it was made of. Norms are folded as they stand, by their running statistics.
    """
    folded = copy.deepcopy(model).eval().requires_grad_(False)
    if isinstance(folded, SpikingTransformer):
        folded.config = {}
    _fold_children(folded)
    return folded


def _fold_children(module: nn.Module) -> None:
    for name, child in module.named_children():
        if hasattr(child, "folded"):
            setattr(module, name, child.folded())  # pyright: ignore[reportCallIssue]
        else:
            _fold_children(child)
