"""The spike, a step function, and surrogates of its derivative for the backward pass.

A surrogate is any function `u -> ds/du` on tensors of any shape, where `u = h - v_threshold`. These are frozen
dataclasses, so one instance can be shared, compared and written to a settings file.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from spikeformers.ops.arguments import check_positive
from spikeformers.ops.tracing import runs_eagerly, transforms_active

Surrogate = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Sigmoid:
    """Derivative of `sigmoid(alpha u)`: peak alpha / 4. With alpha 4 the usual choice."""

    alpha: float = 4.0

    def __post_init__(self) -> None:
        check_positive(alpha=self.alpha)

    def __call__(self, u: Tensor) -> Tensor:
        s = (self.alpha * u).sigmoid_()
        return torch.addcmul(s, s, s, value=-1).mul_(self.alpha)  # alpha s (1 - s)


@dataclass(frozen=True)
class ATan:
    """Derivative of `arctan(pi/2 alpha u) / pi`: peak alpha / 2. Fang et al., ICCV 2021, arXiv:2007.05785."""

    alpha: float = 2.0

    def __post_init__(self) -> None:
        check_positive(alpha=self.alpha)

    def __call__(self, u: Tensor) -> Tensor:
        return (self.alpha / 2) / (1 + (math.pi / 2 * self.alpha * u).square())


@dataclass(frozen=True)
class Triangle:
    """A triangle of area 1 over `|u| < width`: peak 1 / width, exactly 0 outside."""

    width: float = 1.0

    def __post_init__(self) -> None:
        check_positive(width=self.width)

    def __call__(self, u: Tensor) -> Tensor:
        return torch.relu(1 - u.abs() / self.width) / self.width


def sharpness(surrogate: Sigmoid | ATan | Triangle) -> float:
    """The one number that kernels need of a surrogate that they know."""
    return 1 / surrogate.width if isinstance(surrogate, Triangle) else surrogate.alpha


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: Tensor, surrogate: Surrogate) -> Tensor:
        ctx.save_for_backward(u)
        ctx.surrogate = surrogate
        return (u >= 0).to(u.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (u,) = ctx.saved_tensors
        return grads[0] * ctx.surrogate(u), None


def spike(u: Tensor, surrogate: Surrogate) -> Tensor:
    """The spike function with a surrogate derivative.

    Args:
        u: Membrane minus threshold, any shape.
        surrogate: Its derivative, `u -> ds/du`.

    Returns:
        1 where `u >= 0`, else 0, in the dtype of `u`.
    """
    if torch.compiler.is_compiling() or runs_eagerly(u):
        if torch.is_grad_enabled() and u.requires_grad:
            return _Spike.apply(u, surrogate)
    elif transforms_active() or (torch.is_grad_enabled() and u.requires_grad):
        return _spike_of_plain_operations(u, surrogate)
    return (u >= 0).to(u.dtype)


def _spike_of_plain_operations(u: Tensor, surrogate: Surrogate) -> Tensor:
    """`spike` for traces and transforms, which cannot enter an autograd function. Exact to the second derivative.

    The added term is exactly 0. The surrogate is evaluated midway between `u` and its detached copy, so that the second
    derivative counts the surrogate's slope once, not twice.
    """
    finite = torch.where(u.isfinite(), u, 0.0)
    constant = finite.detach()
    return (u >= 0).to(u.dtype) + surrogate((finite + constant) / 2) * (finite - constant)
