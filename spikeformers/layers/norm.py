"""Batch norm over the feature maps of all steps."""

from typing import Any

import torch
from torch import Tensor, nn

from spikeformers.layers.synchronised import norm_across, spans_processes
from spikeformers.layers.time import merge_time, split_time
from spikeformers.ops.notes import Recipe, note
from spikeformers.ops.tracing import runs_eagerly


def batch_norm(norm: Any, x: Tensor, *, repeats: int = 1) -> Tensor:
    """`norm` at every step, `[T, B, C, H, W] -> [T, B, C, H, W]`; all steps share statistics.

    `repeats` is the number of equal steps that an `x` of one step stands for; running statistics count each. If a
    gradient may be needed, the output notes its `Recipe` (`spikeformers.ops.notes`). After `synchronise` all processes
    of a run share statistics too.
    """
    kind = type(norm)
    if spans_processes(norm):
        y, mean, inverse_std = norm_across(norm, merge_time(x), repeats)
    elif kind is nn.BatchNorm2d and norm.training and norm.momentum is not None and runs_eagerly(x):
        y, mean, inverse_std = _norm_here(norm, merge_time(x), repeats)
    else:  # subclasses may do more
        return split_time(norm(merge_time(x)), x.shape[0])
    y = split_time(y, x.shape[0])
    if not y.requires_grad:
        return y
    wide = torch.promote_types(norm.weight.dtype, torch.float32)  # as kernels read them
    scale = norm.weight.detach().to(wide) * inverse_std.to(wide)
    shift = norm.bias.detach().to(wide) - mean.to(wide) * scale
    return note(y, Recipe(x.detach(), scale.view(-1, 1, 1), shift.view(-1, 1, 1)))


def _norm_here(norm: Any, x: Tensor, repeats: int) -> tuple[Tensor, Tensor, Tensor]:
    if repeats * (x.numel() // x.shape[1]) == 1:
        raise ValueError("a norm in training got one number per channel, which has no variance: give more images")
    running = norm.running_var
    variance = running.clone() if repeats > 1 else running
    made = torch.native_batch_norm(
        x, norm.weight, norm.bias, norm.running_mean, variance, True, norm.momentum, norm.eps
    )
    norm.num_batches_tracked.add_(1)
    if repeats > 1:  # the unbiased running variance depends on the count
        count, rest = x.numel() // x.shape[1], (1 - norm.momentum) * running
        if count > 1:  # equal numbers alone do not vary, and torch's variance of one is nan
            rest = rest + (variance - rest) * (repeats * (count - 1) / (repeats * count - 1))
        running.copy_(rest)
    return made


def takes_once(norm: nn.Module, x: Tensor) -> bool:
    """Whether `batch_norm` may compute one step of an input that is equal at every step.

    False if the input needs a gradient, which differs by step.
    """
    if x.shape[0] == 1 or x.stride(0) != 0 or x.requires_grad:
        return False
    if not norm.training or isinstance(norm, nn.Identity):
        return True
    if not (torch.compiler.is_compiling() or runs_eagerly(x)):  # the norm itself counts each number once
        return False
    one_step = x.shape[1] * x.shape[3] * x.shape[4]
    return type(norm) is nn.BatchNorm2d and norm.momentum is not None and one_step > 1
