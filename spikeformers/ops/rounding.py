"""Rounding to spike counts 0 to `top` with a straight-through gradient. Any shape; the result has the dtype of `x`."""

import torch
from torch import Tensor


def round_half_even(x: Tensor, top: int) -> Tensor:
    """`round(clamp(x, 0, top))`, ties to the even count; the derivative is 1 for `0 <= x <= top`, else 0."""
    return _straight_through(x, x.clamp(0, top).round(), (x >= 0) & (x <= top))


def round_half_up(x: Tensor, top: int) -> Tensor:
    """`floor(clamp(x, 0, top) + 1/2)`, ties upwards; the derivative is 1 for `0 < x < top`, else 0."""
    return _straight_through(x, (x.clamp(0, top) + 0.5).floor(), (x > 0) & (x < top))


def _straight_through(x: Tensor, rounded: Tensor, passes: Tensor) -> Tensor:
    # An explicit mask: the derivative of `clamp` at its ends depends on the torch version.
    through = torch.where(passes, x, 0.0)
    return rounded.detach() + (through - through.detach())  # adds exactly 0, and the derivative
