"""Parts that fold into one convolution at inference, and count as that one."""

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from spikeformers.analysis.aten_counts import count_conv
from spikeformers.analysis.neuron_activity import is_neuron
from spikeformers.analysis.operations import Operations
from spikeformers.analysis.origins import Origin
from spikeformers.layers.contracts import declared


def chains_of(model: nn.Module) -> dict[nn.Module, nn.Conv2d]:
    """The parts of several convolutions, without a neuron, that fold into one, with that one."""
    found = {part: _one_convolution(part) for part in model.modules() if _may_fold(part)}
    return {part: conv for part, conv in found.items() if conv is not None}


def count_chain(ops: Operations, x: Tensor, y: Tensor, conv: nn.Conv2d) -> Origin | None:
    """Counts the convolution that makes `[..., C, H', W']` of `[..., C_in, H, W]`."""
    maps, made = (z.reshape(-1, *z.shape[-3:]) for z in (x, y))
    how = (conv.stride, _padding(conv), conv.dilation, False, (0, 0), conv.groups)
    origin = count_conv(ops, made, (maps, conv.weight, None, *how), {})
    if origin is not None and conv.bias is not None:
        ops.add("bias", y.numel())  # of the norms: `biased` is for what a layer has before they are folded
        origin.biased = True
    return origin


def _may_fold(part: nn.Module) -> bool:
    inside = [*part.modules()]
    several = sum(isinstance(m, nn.Conv2d) for m in inside) > 1
    return several and declared(part, "folded") is not None and not any(is_neuron(m) for m in inside)


def _one_convolution(part: nn.Module) -> nn.Conv2d | None:
    """What a part folds into, if it is one convolution and nothing else."""
    own: Any = deepcopy(part).eval()
    with torch.random.fork_rng(devices=[]):  # new layers are initialised, and the caller's numbers stay as they were
        made: nn.Module = own.folded()
    leaves = [m for m in made.modules() if not [*m.children()] and not isinstance(m, nn.Identity)]
    only = leaves[0] if len(leaves) == 1 else None
    one = only if isinstance(only, nn.Conv2d) and only.padding_mode == "zeros" else None
    return None if one is None else one.to("meta")  # its shape is all that counts


def _padding(conv: nn.Conv2d) -> tuple[int, ...]:
    """Zeros before each axis, where PyTorch may have a word."""
    if conv.padding == "same":
        return tuple(d * (k - 1) // 2 for d, k in zip(conv.dilation, conv.kernel_size, strict=True))
    return (0, 0) if isinstance(conv.padding, str) else conv.padding
