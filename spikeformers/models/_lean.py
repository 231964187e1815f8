"""Memory for time: parts that are run again in the backward pass, rather than kept."""

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

from spikeformers.models._network import SpikingTransformer
from spikeformers.ops.notes import Counts, note, noted

Model = TypeVar("Model", bound=SpikingTransformer)


def lean(model: Model) -> Model:
    """Makes training keep no more than the input of the stem, the position part and each block; returns the model.

    What they compute and their running statistics stay the same to the bit, gradients but for rounding; a training step
    takes about 40 % longer. `docs/performance.md` has the figures.
    """
    model.run = recomputed
    return model


def recomputed(part: nn.Module, x: Tensor) -> Tensor:
    """`part(x)`, of which only `x` is kept for the backward pass. Running statistics count it once.

    The second run starts from the statistics that the first one found, so that it computes the same, and works on
    copies of them.
    """
    if not torch.is_grad_enabled() or isinstance(part, nn.Identity):
        return part(x)
    found = {name: buffer.clone() for name, buffer in part.named_buffers()} if part.training else {}
    counts = [counts] if (counts := noted(x, Counts)) else []
    first = True

    def run(x: Tensor) -> Tensor:
        nonlocal first
        x = note(x.view_as(x), *counts)  # both runs are to know the same of it
        if first:
            first = False
            return part(x)
        return functional_call(part, {name: buffer.clone() for name, buffer in found.items()}, (x,))

    return checkpoint(run, x, use_reentrant=False)  # pyright: ignore[reportReturnType]
