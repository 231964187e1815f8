"""Giving every layer of a model a quantiser, and taking it away again for inference."""

from collections.abc import Iterator
from typing import TypeVar

import torch
from torch import nn

from spikeformers.layers.contracts import MakeQuantizer
from spikeformers.layers.linear import QuantizableLayer

Model = TypeVar("Model", bound=nn.Module)


def quantize_weights(model: Model, quantizer: MakeQuantizer) -> Model:
    """Gives each convolution and linear layer of a model, heads included, a quantiser of its own, in place.

        quantize_weights(sf.create_model("spikformer_8_512", pretrained=...), LSQ)

    Quantisers start from the weights that the model has, so load those first. A model that `create_model` builds with
    `quantizer=` can be rebuilt from its config; one changed by this function cannot.

    Args:
        model: A model or any module of our layers. Other modules of torch are left as they are.
        quantizer: `quantizer(weight)` makes the module that maps the layer's weight, `[C, ...] -> [C, ...]`.

    Returns:
        The same model. Each quantised layer adds keys with `quantizer` after its name.
    """
    for layer in _layers(model):
        layer.quantize(quantizer)
    return model


def requantized(model: Model) -> Model:
    """Gives each quantised layer, in place, a new quantiser of its kind, for weights that have changed."""
    for layer in _layers(model):
        layer.quantize(layer.makes_quantizer)
    return model


@torch.no_grad()
def baked(model: Model) -> Model:
    """Replaces, in place, the weights of each layer by what its quantiser makes of them, for inference."""
    for layer in _layers(model):
        if layer.quantizer is not None:
            layer.weight = nn.Parameter(layer.used_weight(), layer.weight.requires_grad)
            layer.quantize(None)
    return model


def _layers(model: nn.Module) -> Iterator[QuantizableLayer]:
    return (layer for layer in model.modules() if isinstance(layer, QuantizableLayer))
