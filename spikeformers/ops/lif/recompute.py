"""Leaky integrate-and-fire whose backward recomputes the membrane: nothing is kept but the input.

Not even that where the input says what it was made of (`spikeformers.ops.notes`), which is kept anyway.

On a CPU memory costs more than the arithmetic. So it works in place wherever nobody else looks, on 0.0 and 1.0 rather
than booleans, and takes a few samples at a time through all steps, as many as a core's cache holds.
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


def _membrane(
    x: Tensor, tau: float | Tensor, v_threshold: float, v_reset: float | None, decay_input: bool
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """The membrane after each step's charge, the spikes `[T, ...]` it gives, and, step by step, what it was before."""
    charged, spikes = torch.empty_like(x), torch.empty_like(x)
    v, before = at_rest(x, v_reset), []
    for x_t, h, s in zip(x.unbind(0), charged.unbind(0), spikes.unbind(0), strict=True):
        before.append(v)
        over_rest = v - v_reset if v_reset else v
        if not decay_input:
            torch.sub(v, over_rest / tau, out=h).add_(x_t)
        elif v_reset or isinstance(tau, Tensor):
            torch.sub(x_t, over_rest, out=h).div_(tau).add_(v)
        else:
            torch.lerp(v, x_t, 1 / tau, out=h)
        s.copy_(h).ge_(v_threshold)
        v = torch.sub(h, s, alpha=v_threshold) if v_reset is None else torch.addcmul(h, h, s, value=-1)
        if v_reset:
            v.add_(s, alpha=v_reset)
    return charged, spikes, before


def _parts(x: Tensor, tau: float | Tensor) -> Iterator[slice]:
    """Slices of the batch, axis 1, to take through time together; all of it on a GPU, and where `tau` has axes."""
    whole = x.ndim < 2 or x.device.type != "cpu" or (isinstance(tau, Tensor) and tau.ndim > 0)
    samples = 1 if x.ndim < 2 else x.shape[1]
    together = samples if whole else max(1, _IN_CACHE // max(1, x[0, :1].numel()))
    for start in range(0, samples, max(1, together)):
        yield slice(start, start + together)


def _fire(x: Tensor, *settings: Any) -> Tensor:
    spikes = torch.empty_like(x)  # in the memory format of x, which stacking would lose
    for part in _parts(x, settings[0]):
        here = (slice(None), part) if x.ndim > 1 else slice(None)
        spikes[here] = _membrane(_wide(x[here]), *settings)[1]
    return spikes


def _wide(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


class _LIF(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, tau: float | Tensor, recipe: Recipe | None, *settings: Any) -> Tensor:
        ctx.save_for_backward(tau if isinstance(tau, Tensor) else None, *(recipe or (x, None, None)))
        ctx.tau, ctx.dtype, ctx.settings = None if isinstance(tau, Tensor) else tau, x.dtype, settings
        return _fire(x, tau, *settings[:3])

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
            x = _wide(input_of(made_of[here]))
            grad_x[here] = _backward(x, grads[0][here], tau, grad_tau, *ctx.settings)
        return grad_x, grad_tau, *[None] * (len(ctx.settings) + 1)


def _backward(
    x: Tensor,
    grad: Tensor,
    tau: float | Tensor,
    grad_tau: Tensor | None,
    v_threshold: float,
    v_reset: float | None,
    decay_input: bool,
    detach_reset: bool,
    surrogate: Surrogate,
) -> Tensor:
    """The gradient of `x`; that of `tau` is added to `grad_tau`. Forwards through the membrane, and then back."""
    charged, spikes, before = _membrane(x, tau, v_threshold, v_reset, decay_input)
    slope = surrogate(charged - v_threshold)
    grad_h = slope * grad if not detach_reset else slope.mul_(grad)
    stays = None if v_reset is None else spikes.neg_().add_(1)  # of the membrane, after a hard reset
    grad_v: Tensor | None = None
    for t in reversed(range(len(x))):
        if grad_v is not None:
            if not detach_reset:
                jump = v_threshold if v_reset is None else charged[t] - v_reset  # what a spike takes off the membrane
                grad_h[t].sub_(slope[t] * jump * grad_v)
            grad_h[t].add_(grad_v) if stays is None else grad_h[t].addcmul_(grad_v, stays[t])
        if grad_tau is not None:
            over_rest = before[t] - (v_reset or 0.0)
            driven = x[t] - over_rest if decay_input else -over_rest
            grad_tau -= (grad_h[t] * driven / tau**2).sum_to_size(grad_tau.shape)
        grad_v = grad_h[t] * (1 - 1 / tau)
    return grad_h.div_(tau) if decay_input else grad_h


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
