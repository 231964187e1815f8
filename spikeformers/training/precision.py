"""The precision that a run trains in on this machine."""

import logging

import torch

from spikeformers.training.recipe import Recipe

logger = logging.getLogger("spikeformers")


def on_cpu(recipe: Recipe) -> bool:
    """Whether a recipe trains on the processor of this machine."""
    accelerator = recipe.trainer.get("accelerator", "auto")
    return accelerator == "cpu" or (accelerator == "auto" and not torch.accelerator.is_available())


def bf16_is_fast() -> bool:
    """Whether PyTorch has bf16 convolutions for this processor. Where it has none, as with AVX2 alone, its fallback
    takes fifteen times as long as float32."""
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def precision_here(recipe: Recipe) -> str:
    """A recipe's precision, or `32-true` on a processor where its bf16 would be slower than that."""
    if recipe.precision == "bf16-mixed" and on_cpu(recipe) and not bf16_is_fast():
        return "32-true"
    return recipe.precision


def tell_precision(recipe: Recipe) -> None:
    """Logs one line if a run trains in another precision than its recipe's."""
    if (here := precision_here(recipe)) != recipe.precision:
        logger.warning(
            "this processor has no fast bf16: training in precision %s instead of %s", here, recipe.precision
        )
