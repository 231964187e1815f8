"""Inference without norms: each becomes part of the convolution before it."""

import copy
from typing import TypeVar

from torch import nn

from spikeformers.layers.contracts import declared
from spikeformers.models.network import SpikingTransformer

Model = TypeVar("Model", bound=nn.Module)


def fold(model: Model) -> Model:
    """A copy of a model for inference, in eval mode, whose norms and chains of linear layers are single convolutions.

    Every part that has a method `folded` is replaced by what that returns: `ConvNorm` and its kin fold the norm into
    the convolution, `RepConv` becomes one 3x3 convolution and `RepLinear` one of 1x1. Outputs are the same but for
    rounding. The copy has other weights under other keys, and its `config` says so: saved, it loads as it is. Norms are
    folded as they stand, by their running statistics.
    """
    folded = copy.deepcopy(model).eval().requires_grad_(False)
    if isinstance(folded, SpikingTransformer) and folded.config:
        if folded.config.get("folded"):
            return folded
        folded.config = {**folded.config, "folded": True}
    _fold_children(folded)
    return folded


def _fold_children(module: nn.Module) -> None:
    for name, child in module.named_children():
        if make := declared(child, "folded"):
            setattr(module, name, make())
        else:
            _fold_children(child)
