"""Leaky integrate-and-fire whose backward recomputes the membrane: nothing is kept but the input.

Works in place wherever nobody else looks, and on 0.0 and 1.0 rather than booleans: on a CPU, fresh memory costs more
than the arithmetic, and comparisons to booleans run several times slower than those to floats.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from spikeformers.ops.lif.reference import at_rest
from spikeformers.ops.surrogate import Surrogate


def _charge(x_t: Tensor, v: Tensor, tau: float | Tensor, v_reset: float | None, decay_input: bool) -> Tensor:
    """A new tensor with the membrane after one step's input; the same arithmetic as the reference's, in its order."""
    over_rest = v - v_reset if v_reset else v
    if decay_input:
        return torch.sub(x_t, over_rest).div_(tau).add_(v)
    return over_rest.div(tau).neg_().add_(v).add_(x_t)


def _step(h: Tensor, v_threshold: float) -> Tensor:
    return h.clone().ge_(v_threshold)


def _reset_(h: Tensor, s: Tensor, v_threshold: float, v_reset: float | None) -> Tensor:
    if v_reset is None:
        return h.sub_(s, alpha=v_threshold)
    h.mul_(1 - s)
    return h.add_(s, alpha=v_reset) if v_reset else h


def _fire(x: Tensor, tau: float | Tensor, v_threshold: float, v_reset: float | None, decay_input: bool) -> Tensor:
    v = at_rest(x, v_reset)
    spikes = torch.empty_like(x)  # in the memory format of x, which stacking would lose
    for t, x_t in enumerate(x.unbind(0)):
        h = _charge(x_t.to(v.dtype), v, tau, v_reset, decay_input)
        spikes[t] = s = _step(h, v_threshold)
        v = _reset_(h, s, v_threshold, v_reset)
    return spikes


class _LIF(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, tau: float | Tensor, *settings: Any) -> Tensor:
        ctx.save_for_backward(x, *([tau] if isinstance(tau, Tensor) else []))
        ctx.tau, ctx.settings = None if isinstance(tau, Tensor) else tau, settings
        v_threshold, v_reset, decay_input, _, _ = settings
        return _fire(x, tau, v_threshold, v_reset, decay_input)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, *learned = ctx.saved_tensors
        tau = learned[0] if learned else ctx.tau
        v_threshold, v_reset, decay_input, detach_reset, surrogate = ctx.settings

        v = at_rest(x, v_reset)
        before, charged, spikes = [], [], []  # the membrane ahead of each step, after its charge, and what it gave
        for x_t in x.unbind(0):
            h = _charge(x_t.to(v.dtype), v, tau, v_reset, decay_input)
            before.append(v)
            charged.append(h)
            spikes.append(_step(h, v_threshold))
            v = _reset_(h.clone(), spikes[-1], v_threshold, v_reset)

        grad_x = torch.empty_like(x)
        grad_v: Tensor | None = None
        grad_tau = torch.zeros_like(tau) if learned else None
        for t in reversed(range(x.shape[0])):
            h, s = charged.pop(), spikes.pop()
            slope = surrogate(h - v_threshold)
            grad_h = slope * grads[0][t]
            if grad_v is not None:
                if not detach_reset:
                    jump = v_threshold if v_reset is None else h - v_reset  # what a spike takes off the membrane
                    grad_h = grad_h.sub_(slope * jump * grad_v)
                grad_h = grad_h.add_(grad_v if v_reset is None else grad_v.mul_(1 - s))
            grad_x[t] = grad_h / tau if decay_input else grad_h
            if grad_tau is not None:
                over_rest = before.pop() - (v_reset or 0.0)
                driven = x[t].to(h.dtype) - over_rest if decay_input else -over_rest
                grad_tau -= (grad_h * driven / tau**2).sum_to_size(grad_tau.shape)
            grad_v = grad_h.mul_(1 - 1 / tau)
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
    if torch.is_grad_enabled() and (x.requires_grad or (isinstance(tau, Tensor) and tau.requires_grad)):
        return _LIF.apply(x, tau, v_threshold, v_reset, decay_input, detach_reset, surrogate)  # pyright: ignore[reportReturnType]
    return _fire(x, tau, v_threshold, v_reset, decay_input)
