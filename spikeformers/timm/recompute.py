"""Memory for time: a block that is run again in the backward pass, rather than kept."""

from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint


def recomputed(block: nn.Module, x: Tensor) -> Tensor:
    """`block(x)`, of which only `x` is kept for the backward pass. Running statistics count it once.

    The second run starts from the statistics that the first one found, so that it computes the same, and works on
    copies of them.
    """
    found = {name: buffer.clone() for name, buffer in block.named_buffers()}
    first = True

    def run(x: Tensor) -> Tensor:
        nonlocal first
        if first:
            first = False
            return block(x)
        return functional_call(block, {name: buffer.clone() for name, buffer in found.items()}, (x,))

    return checkpoint(run, x, use_reentrant=False)  # pyright: ignore[reportReturnType]
