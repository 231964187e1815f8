"""Memory for time: parts that are run again in the backward pass, rather than kept."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

from spikeformers.layers.chain import Chain
from spikeformers.models.network import SpikingTransformer
from spikeformers.ops.notes import Counts, note, noted
from spikeformers.ops.tracing import runs_eagerly

Model = TypeVar("Model", bound=SpikingTransformer)


def recompute_blocks(model: Model) -> Model:
    """Makes training keep the last block, and of each other block and each stage of the stem its input only.

    Returns the model. What it computes and its running statistics stay the same to the bit, gradients but for rounding;
    a training step takes about a third longer. `docs/performance.md` has the figures.
    """
    set_run(model, recomputed)
    return model


lean = recompute_blocks  # its name until 0.3


def set_run(model: SpikingTransformer, run: Callable[[nn.Module, Tensor], Tensor]) -> None:
    """Has the stem, the position part and the blocks of a model, and what they are chains of, called by `run`."""
    model.run = run
    for chain in (module for module in model.modules() if isinstance(module, Chain)):
        chain.run = run


def recomputed(part: nn.Module, x: Tensor) -> Tensor:
    """`part(x)`, of which only `x` is kept for the backward pass. Running statistics count it once.

    The second run starts from the statistics that the first one found, so that it computes the same, and works on
    copies of them. A part that has chains is run as it is: they run their own parts again, one at a time. So is
    whatever is traced or transformed (`spikeformers.ops.tracing`), but not compiled: compilers can run a part again.
    """
    has_chains = any(isinstance(child, Chain) for child in part.children())
    watched = not (torch.compiler.is_compiling() or runs_eagerly(x))
    if not torch.is_grad_enabled() or isinstance(part, nn.Identity) or has_chains or watched:
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

    y: Any = checkpoint(run, x, use_reentrant=False)
    return y
