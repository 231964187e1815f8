"""Leaky integrate-and-fire whose backward recomputes the membrane: nothing is kept but the input.

Not even that where the input says what it was made of (`spikeformers.ops.notes`), which is kept anyway.

On a CPU fresh memory costs more than the arithmetic. So it works in place wherever nobody else looks, on 0.0 and 1.0
rather than booleans, and takes a few samples at a time through all steps, as many as a core's cache holds.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from spikeformers.ops.lif.reference import at_rest
from spikeformers.ops.notes import Counts, Recipe, note, noted
from spikeformers.ops.surrogate import Surrogate

_IN_CACHE = 1 << 16  # neurons at a time: a quarter of a megabyte a step


def _charge(x_t: Tensor, v: Tensor, tau: float | Tensor, v_reset: float | None, decay_input: bool) -> Tensor:
    """A new tensor with the membrane after one step's input."""
    if decay_input and not v_reset and not isinstance(tau, Tensor):
        return torch.lerp(v, x_t, 1 / tau)
    over_rest = v - v_reset if v_reset else v
    if decay_input:
        return torch.sub(x_t, over_rest).div_(tau).add_(v)
    return over_rest.div(tau).neg_().add_(v).add_(x_t)


def _step(h: Tensor, v_threshold: float) -> Tensor:
    return h.clone().ge_(v_threshold)


def _reset_(h: Tensor, s: Tensor, v_threshold: float, v_reset: float | None) -> Tensor:
    if v_reset is None:
        return h.sub_(s, alpha=v_threshold)
    h.addcmul_(h, s, value=-1)
    return h.add_(s, alpha=v_reset) if v_reset else h


def _parts(x: Tensor, tau: float | Tensor) -> Iterator[slice]:
    """Slices of the batch, axis 1, to take through time together; all of it on a GPU, and where `tau` has axes."""
    whole = x.ndim < 2 or x.device.type != "cpu" or (isinstance(tau, Tensor) and tau.ndim > 0)
    samples = 1 if x.ndim < 2 else x.shape[1]
    together = samples if whole else max(1, _IN_CACHE // max(1, x[0, :1].numel()))
    for start in range(0, samples, max(1, together)):
        yield slice(start, start + together)


def _fire(x: Tensor, tau: float | Tensor, v_threshold: float, v_reset: float | None, decay_input: bool) -> Tensor:
    spikes = torch.empty_like(x)  # in the memory format of x, which stacking would lose
    for part in _parts(x, tau):
        x_part, spikes_part = (x[:, part], spikes[:, part]) if x.ndim > 1 else (x, spikes)
        v = at_rest(x_part, v_reset)
        for t, x_t in enumerate(x_part.unbind(0)):
            h = _charge(x_t.to(v.dtype), v, tau, v_reset, decay_input)
            spikes_part[t] = s = _step(h, v_threshold)
            v = _reset_(h, s, v_threshold, v_reset)
    return spikes


class _LIF(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, tau: float | Tensor, recipe: Recipe | None, *settings: Any) -> Tensor:
        ctx.save_for_backward(tau if isinstance(tau, Tensor) else None, *(recipe or (x, None, None)))
        ctx.tau, ctx.dtype, ctx.settings = None if isinstance(tau, Tensor) else tau, x.dtype, settings
        v_threshold, v_reset, decay_input, _, _ = settings
        return _fire(x, tau, v_threshold, v_reset, decay_input)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        learned, made_of, scale, shift = ctx.saved_tensors
        tau, dtype = ctx.tau if learned is None else learned, ctx.dtype

        def input_of(part: Tensor) -> Tensor:  # rounded as it was
            return part if scale is None else torch.addcmul(shift, part.to(scale.dtype), scale).to(dtype)

        grad_tau = None if learned is None else torch.zeros_like(learned)
        grad_x = torch.empty_like(made_of, dtype=dtype)
        for part in _parts(made_of, tau):
            here = (slice(None), part) if made_of.ndim > 1 else slice(None)
            x = [input_of(step) for step in made_of[here].unbind(0)]
            _backward(x, grads[0][here], grad_x[here], tau, grad_tau, *ctx.settings)
        return grad_x, grad_tau, *[None] * (len(ctx.settings) + 1)


def _backward(
    x: list[Tensor],
    grad: Tensor,
    grad_x: Tensor,
    tau: float | Tensor,
    grad_tau: Tensor | None,
    v_threshold: float,
    v_reset: float | None,
    decay_input: bool,
    detach_reset: bool,
    surrogate: Surrogate,
) -> None:
    """Writes `grad_x` and adds to `grad_tau`: forwards through the membrane, and then back."""
    v = at_rest(x[0][None], v_reset)
    before, charged, spikes = [], [], []  # the membrane ahead of each step, after its charge, and what it gave
    for x_t in x:
        h = _charge(x_t.to(v.dtype), v, tau, v_reset, decay_input)
        before.append(v)
        charged.append(h)
        spikes.append(_step(h, v_threshold))
        v = _reset_(h.clone(), spikes[-1], v_threshold, v_reset)
    grad_v: Tensor | None = None
    for t in reversed(range(len(x))):
        h, s, v = charged.pop(), spikes.pop(), before.pop()
        slope = surrogate(h - v_threshold)
        if grad_v is not None and not detach_reset:
            jump = v_threshold if v_reset is None else h - v_reset  # what a spike takes off the membrane
            grad_h = slope * grad[t] - slope * jump * grad_v
        else:
            grad_h = slope * grad[t]
        if grad_v is not None:
            grad_h.add_(grad_v)
            if v_reset is not None:
                grad_h.addcmul_(grad_v, s, value=-1)
        grad_x[t] = grad_h / tau if decay_input else grad_h
        if grad_tau is not None:
            over_rest = v - (v_reset or 0.0)
            driven = x[t].to(h.dtype) - over_rest if decay_input else -over_rest
            grad_tau -= (grad_h * driven / tau**2).sum_to_size(grad_tau.shape)
        grad_v = grad_h.mul_(1 - 1 / tau)


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
        recipe = noted(x, Recipe)
        spikes: Any = _LIF.apply(x, tau, recipe, v_threshold, v_reset, decay_input, detach_reset, surrogate)
        return note(spikes, Counts(1))
    return _fire(x, tau, v_threshold, v_reset, decay_input)
