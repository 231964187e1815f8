"""Leaky integrate-and-fire whose backward recomputes the membrane from the saved input.

If the input has a `Recipe` (`spikeformers.ops.notes`), the recipe is saved instead. `eager.py`, and `triton.py` on a
GPU, compute spikes and gradients.
"""

from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from spikeformers.ops.notes import Counts, Recipe, note, noted
from spikeformers.ops.surrogate import Surrogate


class Way(Protocol):
    """A module that computes spikes and their gradients."""

    def fire(
        self, x: Tensor, tau: float | Tensor, v_threshold: float, v_reset: float | None, decay_input: bool, /
    ) -> Tensor: ...

    def gradients(
        self, made_of: Tensor, scale: Tensor | None, shift: Tensor | None, grad: Tensor, tau: float | Tensor,
        grad_tau: Tensor | None, /, *settings: Any,
    ) -> Tensor: ...  # fmt: skip


class _LIF(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, way: Way, x: Tensor, tau: float | Tensor, recipe: Recipe | None, *settings: Any) -> Tensor:
        ctx.save_for_backward(tau if isinstance(tau, Tensor) else None, *(recipe or (x, None, None)))
        ctx.way, ctx.tau, ctx.settings = way, None if isinstance(tau, Tensor) else tau, settings
        return way.fire(x, tau, *settings[:3])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        learned, made_of, scale, shift = ctx.saved_tensors
        tau = ctx.tau if learned is None else learned
        grad_tau = None if learned is None else torch.zeros_like(learned)
        grad_x = ctx.way.gradients(made_of, scale, shift, grads[0], tau, grad_tau, *ctx.settings)
        return None, grad_x, grad_tau, *[None] * (len(ctx.settings) + 1)


def lif(
    way: Way,
    x: Tensor,
    tau: float | Tensor,
    v_threshold: float,
    v_reset: float | None,
    decay_input: bool,
    detach_reset: bool,
    surrogate: Surrogate,
) -> Tensor:
    """`spikeformers.ops.lif.lif`, differentiable once: `[T, ...] current -> [T, ...] spikes`."""
    if torch.is_grad_enabled() and (x.requires_grad or (isinstance(tau, Tensor) and tau.requires_grad)):
        recipe = noted(x, Recipe)
        spikes: Any = _LIF.apply(way, x, tau, recipe, v_threshold, v_reset, decay_input, detach_reset, surrogate)
        return note(spikes, Counts(1))
    return way.fire(x, tau, v_threshold, v_reset, decay_input)
