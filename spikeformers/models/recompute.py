"""Recompute parts in backward instead of saving their activations."""

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
    """Trades time for memory in training: every block but the last, and every stage of the stem, saves only its input.

    Outputs and running statistics are the same to the bit, gradients up to rounding; a step takes about a third longer.
    `docs/performance.md` has figures.

    Args:
        model: The model, changed in place.

    Returns:
        The same model.
    """
    set_run(model, recomputed)
    return model


lean = recompute_blocks  # name until 0.3


def set_run(model: SpikingTransformer, run: Callable[[nn.Module, Tensor], Tensor]) -> None:
    """Sets how a model calls its stem, position part and blocks, and the parts of chains in them."""
    model.run = run
    for chain in (module for module in model.modules() if isinstance(module, Chain)):
        chain.run = run


def recomputed(part: nn.Module, x: Tensor) -> Tensor:
    """`part(x)`, saving only `x` for backward. Running statistics count it once.

    The second run works on copies of the buffers as the first run found them, so both compute the same. A part with
    chains runs plainly, as the chains recompute their own parts. So does a traced or transformed part
    (`spikeformers.ops.tracing`), but not a compiled one: compilers support recomputation.
    """
    has_chains = any(isinstance(child, Chain) for child in part.children())
    watched = not (torch.compiler.is_compiling() or runs_eagerly(x))
    if not torch.is_grad_enabled() or isinstance(part, nn.Identity) or has_chains or watched:
        return part(x)
    before = {name: buffer.clone() for name, buffer in part.named_buffers()} if part.training else {}
    counts = [counts] if (counts := noted(x, Counts)) else []
    first = True

    def run(x: Tensor) -> Tensor:
        nonlocal first
        x = note(x.view_as(x), *counts)  # both runs need the same note
        if first:
            first = False
            return part(x)
        return functional_call(part, {name: buffer.clone() for name, buffer in before.items()}, (x,))

    y: Any = checkpoint(run, x, use_reentrant=False)
    return y
