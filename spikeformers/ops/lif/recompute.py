"""Leaky integrate-and-fire whose backward recomputes the membrane: nothing is kept but the input."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from spikeformers.ops.lif import reference
from spikeformers.ops.lif.reference import at_rest, charge, reset
from spikeformers.ops.surrogate import Surrogate


class _LIF(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, tau: float | Tensor, *settings: Any) -> Tensor:
        ctx.save_for_backward(x, *([tau] if isinstance(tau, Tensor) else []))
        ctx.tau, ctx.settings = None if isinstance(tau, Tensor) else tau, settings
        return reference.lif(x, tau, *settings)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, *learned = ctx.saved_tensors
        tau = learned[0] if learned else ctx.tau
        v_threshold, v_reset, decay_input, detach_reset, surrogate = ctx.settings
        input_gain = 1 / tau if decay_input else 1.0

        v = at_rest(x, v_reset)
        before, charged = [], []  # the membrane ahead of each step, and after its charge
        for x_t in x.unbind(0):
            h = charge(x_t.to(v.dtype), v, tau, v_reset, decay_input)
            before.append(v)
            charged.append(h)
            v = reset(h, (h >= v_threshold).to(h.dtype), v_threshold, v_reset)

        grad_x = torch.empty_like(x)
        grad_v = torch.zeros_like(v)
        grad_tau = torch.zeros_like(tau) if learned else None
        for t in reversed(range(x.shape[0])):
            h = charged[t]
            fired = (h >= v_threshold).to(h.dtype)
            slope = surrogate(h - v_threshold)
            kept = 1.0 if v_reset is None else 1 - fired  # dv/dh with the spike held still
            if not detach_reset:
                kept = kept - slope * v_threshold if v_reset is None else kept + slope * (v_reset - h)
            grad_h = grads[0][t].to(h.dtype) * slope + grad_v * kept
            grad_x[t] = grad_h * input_gain
            if grad_tau is not None:
                over_rest = before[t] - (v_reset or 0.0)
                driven = x[t].to(h.dtype) - over_rest if decay_input else -over_rest
                grad_tau -= (grad_h * driven / tau**2).sum_to_size(grad_tau.shape)
            grad_v = grad_h * (1 - 1 / tau)
        return grad_x, grad_tau, None, None, None, None, None


def lif(
    x: Tensor,
    tau: float | Tensor,
    v_threshold: float,
    v_reset: float | None,
    decay_input: bool,
    detach_reset: bool,
    surrogate: Surrogate,
) -> Tensor:
    """`spikeformers.ops.lif.lif`, differentiable once: `[T, ...] current -> [T, ...] spikes`."""
    settings = (v_threshold, v_reset, decay_input, detach_reset, surrogate)
    if torch.is_grad_enabled() and (x.requires_grad or (isinstance(tau, Tensor) and tau.requires_grad)):
        return _LIF.apply(x, tau, *settings)  # pyright: ignore[reportReturnType]
    return reference.lif(x, tau, *settings)
