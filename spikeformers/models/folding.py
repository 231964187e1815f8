"""Fold norms into convolutions for inference."""

import copy
from typing import TypeVar

from torch import nn

from spikeformers.layers.contracts import declared
from spikeformers.models.network import SpikingTransformer

Model = TypeVar("Model", bound=nn.Module)


def fold(model: Model) -> Model:
    """Copies a model for inference, with norms and chains of linear layers folded into single convolutions.

    Every part with a method `folded` is replaced by its result: `ConvNorm` merges the norm, by its running statistics,
    into the convolution, `RepConv` becomes one 3x3 convolution, `RepLinear` one 1x1 convolution. Outputs agree up to
    rounding.

    Args:
        model: A model or any module. It is unchanged.

    Returns:
        The copy, in eval mode, without gradients. It has its own keys; its `config` has `folded`, so a saved copy
        loads as it is.
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
