"""Rounding to whole numbers with a straight-through gradient. Any shape; the result has the dtype of `x`."""

from typing import Any

import torch
from torch import Tensor

from spikeformers.ops.tracing import runs_eagerly


def round_half_even(x: Tensor, top: int, bottom: int = 0) -> Tensor:
    """`round(clamp(x, bottom, top))`, ties to the even count; the derivative is 1 for `bottom <= x <= top`, else 0."""
    fixed = x.detach()
    clamped = fixed.clamp(bottom, top)
    rounded = clamped.round()
    return _straight_through(x, rounded, clamped.eq_(fixed)) if torch.is_grad_enabled() else rounded


def round_half_up(x: Tensor, top: int) -> Tensor:
    """`floor(clamp(x, 0, top) + 1/2)`, ties upwards; the derivative is 1 for `0 < x < top`, else 0."""
    fixed = x.detach()
    rounded = (fixed.clamp(0, top) + 0.5).floor()
    return _straight_through(x, rounded, (fixed > 0) & (fixed < top)) if torch.is_grad_enabled() else rounded


class _StraightThrough(torch.autograd.Function):
    """`rounded`, with the derivative `passes`, of 0 and 1.

    On a CPU, nothing that makes or reads bool is vectorised, nor is `torch.where`: `passes` may be of any dtype, and a
    byte is kept.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, rounded: Tensor, passes: Tensor) -> Tensor:
        ctx.save_for_backward(passes.view(torch.int8) if passes.dtype == torch.bool else passes.to(torch.int8))
        return rounded

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (passes,) = ctx.saved_tensors
        return passes.to(grads[0].dtype) * grads[0], None, None  # the layout is the first factor's


def _straight_through(x: Tensor, rounded: Tensor, passes: Tensor) -> Tensor:
    # An explicit mask: the derivative of `clamp` at its ends depends on the torch version.
    if runs_eagerly(x):
        through: Any = _StraightThrough.apply(x, rounded, passes)
        return through
    through = torch.where(passes.bool(), x, 0.0)
    return rounded + (through - through.detach())  # adds exactly 0, and the derivative
