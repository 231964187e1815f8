"""`torch.compile` by parts, so that equal blocks compile once."""

from typing import TypeVar

import torch
from torch import nn

from spikeformers.models.network import SpikingTransformer

Model = TypeVar("Model", bound=SpikingTransformer)


def compile(model: Model, **options: object) -> Model:
    """Compiles the stem, the position part and each kind of block, in place, at their first call.

    Shapes are static: another batch size, number of steps or image size compiles again. `docs/performance.md` has
    timings.

    Args:
        model: The model. Its parameters and keys stay the same.
        **options: Arguments for `torch.compile`.

    Returns:
        The same model.

    Raises:
        ValueError: There is no GPU, where compiling takes minutes, and `options` name no backend.
    """
    if "backend" not in options and not torch.accelerator.is_available():
        raise ValueError(
            "compiling does not pay without a GPU: it takes minutes, and compiled models skip no zeros: leave it out, "
            "or name backend='inductor' to compile anyway; for inference, sf.deploy.spike_engine is faster"
        )
    for part in (model.stem, model.position, *model.blocks):
        if not isinstance(part, nn.Identity):
            part.compile(**{"dynamic": False, **options})
    return model
