"""Rounding to whole numbers with a straight-through gradient. Any shape; the result has the dtype of `x`."""

from typing import Any

import torch
from torch import Tensor

from spikeformers.ops.tracing import runs_eagerly


def round_half_even(x: Tensor, top: int, bottom: int = 0) -> Tensor:
    """`round(clamp(x, bottom, top))`, ties to the even count; the derivative is 1 for `bottom <= x <= top`, else 0."""
    fixed = x.detach()
    clamped = fixed.clamp(bottom, top)
    return _straight_through(x, clamped.round(), clamped == fixed) if torch.is_grad_enabled() else clamped.round()


def round_half_up(x: Tensor, top: int) -> Tensor:
    """`floor(clamp(x, 0, top) + 1/2)`, ties upwards; the derivative is 1 for `0 < x < top`, else 0."""
    fixed = x.detach()
    rounded = (fixed.clamp(0, top) + 0.5).floor()
    return _straight_through(x, rounded, (fixed > 0) & (fixed < top)) if torch.is_grad_enabled() else rounded


class _StraightThrough(torch.autograd.Function):
    """`rounded`, with the derivative `passes`. `torch.where`, which is not vectorised, takes three times as long."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rounded: Tensor, passes: Tensor) -> Tensor:
        ctx.save_for_backward(passes)
        return rounded

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (passes,) = ctx.saved_tensors
        return grads[0] * passes.to(grads[0].dtype), None, None


def _straight_through(x: Tensor, rounded: Tensor, passes: Tensor) -> Tensor:
    # An explicit mask: the derivative of `clamp` at its ends depends on the torch version.
    if runs_eagerly(x):
        through: Any = _StraightThrough.apply(x, rounded, passes)
        return through
    through = torch.where(passes, x, 0.0)
    return rounded + (through - through.detach())  # adds exactly 0, and the derivative
