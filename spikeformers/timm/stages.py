"""Where a trunk's stages end, read off the shapes that flow through it."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from spikeformers.models import SpikingTransformer


class Stage(NamedTuple):
    """The end of a stage: the number of its last block, the width there, and how much smaller than the image."""

    block: int
    dim: int
    reduction: int


@torch.no_grad()
def find_stages(model: SpikingTransformer) -> list[Stage]:
    """A stage ends where the next block changes the stream's shape; one that never changes has a stage a block.

    The shapes are those for `image_size`. Nothing is computed, and the model stays as it is.
    """
    size = model.image_size
    x = torch.empty(model.time_steps, 2, model.in_channels, size, size, device="meta")
    x = _shaped(model.position, _shaped(model.stem, x))
    shapes = []
    for block in model.blocks:
        x = _shaped(block, x)
        shapes.append(x.shape)
    flat = len(set(shapes)) == 1
    ends = [i for i, shape in enumerate(shapes) if flat or i + 1 == len(shapes) or shapes[i + 1] != shape]
    return [Stage(i, shapes[i][2], round(size / shapes[i][-1])) for i in ends]


def _shaped(part: nn.Module, x: Tensor) -> Tensor:
    """What `part` makes of a tensor that is all shape: its parameters are stood in for by such tensors too."""
    tensors = {**dict(part.named_parameters()), **dict(part.named_buffers())}
    return functional_call(part, {name: torch.empty_like(t, device="meta") for name, t in tensors.items()}, (x,))
