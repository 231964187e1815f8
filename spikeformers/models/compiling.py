"""Compiled models: `torch.compile` by parts, so that blocks of one kind are compiled once."""

from typing import TypeVar

from torch import nn

from spikeformers.models.network import SpikingTransformer

Model = TypeVar("Model", bound=SpikingTransformer)


def compile(model: Model, **options: object) -> Model:
    """Compiles the stem, the position part and every kind of block at their first call; returns the model.

    Parameters and keys stay as they are. `options` go to `torch.compile`. Sizes are taken as they come: another batch
    size, number of steps or image size compiles once more. `docs/performance.md` says where it pays.
    """
    for part in (model.stem, model.position, *model.blocks):
        if not isinstance(part, nn.Identity):
            part.compile(**{"dynamic": False, **options})
    return model
