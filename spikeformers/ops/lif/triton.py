"""Leaky integrate-and-fire in two Triton kernels, forward and backward, with all steps in registers.

Each step reads and writes a neuron once, so memory bandwidth sets the speed.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from spikeformers.ops.surrogate import ATan, Sigmoid, Surrogate, Triangle, sharpness

_BLOCK = 1024
_SURROGATES = {Sigmoid: 0, ATan: 1, Triangle: 2}
INTERPRETED = triton.knobs.runtime.interpret  # pyright: ignore[reportAttributeAccessIssue]


def cannot_take(x: Tensor, tau: float | Tensor, surrogate: Surrogate) -> str | None:
    """Why the kernels do not support this input, or None."""
    if not (x.is_cuda or INTERPRETED):
        return f"it needs a GPU, and the input is on {x.device}"
    if x.dtype == torch.float64:
        return "its membrane is fp32, and the input float64"
    if isinstance(tau, Tensor) and tau.numel() > 1:
        return f"it takes one tau for all neurons, and got {tau.numel()}"
    if type(surrogate) not in _SURROGATES:
        return f"it supports the surrogates {', '.join(kind.__name__ for kind in _SURROGATES)}, not {surrogate!r}"
    return None


@triton.jit
def _normed(x_ptr, scale_ptr, shift_ptr, at, t, step, channels, pixels, inside, MADE: tl.constexpr):
    """The input of step t as fp32, recomputed from its recipe if MADE."""
    raw = tl.load(x_ptr + t * step + at, mask=inside, other=0.0)
    if MADE:
        channel = (at // pixels) % channels
        scale = tl.load(scale_ptr + channel, mask=inside, other=0.0)
        shift = tl.load(shift_ptr + channel, mask=inside, other=0.0)
        return (raw.to(tl.float32) * scale + shift).to(raw.dtype).to(tl.float32)  # rounded as in forward
    return raw.to(tl.float32)


@triton.jit
def _charge(x, v, tau, v_reset, DECAY: tl.constexpr):
    if DECAY:
        return v + (x - (v - v_reset)) / tau
    return v - (v - v_reset) / tau + x


@triton.jit
def _reset(h, s, v_threshold, v_reset, HARD: tl.constexpr):
    if HARD:
        return tl.where(s > 0, v_reset, h)
    return h - v_threshold * s


@triton.jit
def _slope(u, alpha, KIND: tl.constexpr):
    """The surrogate's derivative at a distance u from the threshold."""
    if KIND == 0:
        s = 1 / (1 + tl.exp(-alpha * u))
        return alpha * s * (1 - s)
    if KIND == 1:
        wide = 1.5707963267948966 * alpha * u
        return alpha / 2 / (1 + wide * wide)
    return tl.maximum(1 - alpha * tl.abs(u), 0.0) * alpha


@triton.jit
def _forward(
    x_ptr, spikes_ptr, tau_arg, v_threshold, v_reset, neurons,
    T: tl.constexpr, LEARNED: tl.constexpr, DECAY: tl.constexpr, HARD: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    step = tl.program_id(0).to(tl.int64) * 0 + neurons  # in 64 bits: T steps may have more than 2^31 numbers
    inside = at < neurons
    tau = tl.load(tau_arg).to(tl.float32) if LEARNED else tau_arg
    v = tl.zeros([BLOCK], tl.float32) + v_reset
    for t in tl.static_range(T):  # pyright: ignore[reportGeneralTypeIssues]
        x = tl.load(x_ptr + t * step + at, mask=inside, other=0.0).to(tl.float32)
        h = _charge(x, v, tau, v_reset, DECAY)
        s = (h >= v_threshold).to(tl.float32)
        tl.store(spikes_ptr + t * step + at, s.to(spikes_ptr.dtype.element_ty), mask=inside)
        v = _reset(h, s, v_threshold, v_reset, HARD)


@triton.jit
def _backward(
    x_ptr, scale_ptr, shift_ptr, grad_ptr, grad_x_ptr, grad_tau_ptr, tau_arg, v_threshold, v_reset, alpha,
    neurons, channels, pixels,
    T: tl.constexpr, LEARNED: tl.constexpr, MADE: tl.constexpr, DECAY: tl.constexpr, HARD: tl.constexpr,
    DETACH: tl.constexpr, KIND: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    step = tl.program_id(0).to(tl.int64) * 0 + neurons  # in 64 bits: T steps may have more than 2^31 numbers
    inside = at < neurons
    tau = tl.load(tau_arg).to(tl.float32) if LEARNED else tau_arg
    v = tl.zeros([BLOCK], tl.float32) + v_reset
    charged = ()
    before = ()
    for t in tl.static_range(T):  # pyright: ignore[reportGeneralTypeIssues]
        x = _normed(x_ptr, scale_ptr, shift_ptr, at, t, step, channels, pixels, inside, MADE)
        h = _charge(x, v, tau, v_reset, DECAY)
        charged = charged + (h,)  # noqa: RUF005, which Triton cannot read
        before = before + (v,)  # noqa: RUF005
        v = _reset(h, (h >= v_threshold).to(tl.float32), v_threshold, v_reset, HARD)
    grad_v = tl.zeros([BLOCK], tl.float32)
    grad_tau = tl.zeros([BLOCK], tl.float32)
    for back in tl.static_range(T):  # pyright: ignore[reportGeneralTypeIssues]
        h = charged[T - 1 - back]
        at_t = (T - 1 - back) * step + at
        s = (h >= v_threshold).to(tl.float32)
        slope = _slope(h - v_threshold, alpha, KIND)
        grad_s = tl.load(grad_ptr + at_t, mask=inside, other=0.0).to(tl.float32)
        if not DETACH:
            grad_s -= grad_v * ((h - v_reset) if HARD else v_threshold)
        grad_h = grad_s * slope + (grad_v * (1 - s) if HARD else grad_v)
        if LEARNED:
            x = _normed(x_ptr, scale_ptr, shift_ptr, at, T - 1 - back, step, channels, pixels, inside, MADE)
            over_rest = before[T - 1 - back] - v_reset
            driven = (x - over_rest) if DECAY else -over_rest
            grad_tau -= tl.where(inside, grad_h * driven, 0.0) / (tau * tau)
        grad_v = grad_h * (1 - 1 / tau)
        grad_x = grad_h / tau if DECAY else grad_h
        tl.store(grad_x_ptr + at_t, grad_x.to(grad_x_ptr.dtype.element_ty), mask=inside)
    if LEARNED:
        tl.store(grad_tau_ptr + tl.program_id(0), tl.sum(grad_tau))


def _step_by_step(x: Tensor) -> Tensor:
    """`x` with its steps consecutive in memory, each dense in its own format."""
    step = x[0]
    dense = step.is_contiguous() or (step.ndim == 4 and step.is_contiguous(memory_format=torch.channels_last))
    if dense and (len(x) == 1 or x.stride(0) == step.numel()):
        return x
    room = torch.empty_like(step, memory_format=torch.preserve_format if dense else torch.contiguous_format)
    return torch.empty_strided(x.shape, (step.numel(), *room.stride()), dtype=x.dtype, device=x.device).copy_(x)


def _current(x: Tensor) -> AbstractContextManager[Any]:
    """Makes a tensor's GPU the current one, on which Triton runs a kernel whatever its arguments lie on."""
    return torch.cuda.device(x.device) if x.is_cuda else nullcontext()


def fire(x: Tensor, tau: float | Tensor, v_threshold: float, v_reset: float | None, decay_input: bool) -> Tensor:
    """The spikes of `spikeformers.ops.lif.lif`."""
    x = _step_by_step(x)
    launch: Any = _forward
    spikes = torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device=x.device)
    if x.numel():
        neurons = x[0].numel()
        with _current(x):
            launch[(triton.cdiv(neurons, _BLOCK),)](
                x, spikes, tau, v_threshold, v_reset or 0.0, neurons,
                T=len(x), LEARNED=isinstance(tau, Tensor), DECAY=decay_input, HARD=v_reset is not None, BLOCK=_BLOCK,
            )  # fmt: skip
    return spikes


def gradients(
    made_of: Tensor,
    scale: Tensor | None,
    shift: Tensor | None,
    grad: Tensor,
    tau: float | Tensor,
    grad_tau: Tensor | None,
    v_threshold: float,
    v_reset: float | None,
    decay_input: bool,
    detach_reset: bool,
    surrogate: Any,
) -> Tensor:
    """The gradient of the input, `made_of * scale + shift` or `made_of`; adds that of `tau` to `grad_tau`."""
    x = _step_by_step(made_of)
    grad_x = torch.empty_strided(x.shape, x.stride(), dtype=grad.dtype, device=x.device)
    if not x.numel():
        return grad_x
    grad = grad if grad.stride() == x.stride() else torch.empty_like(grad_x).copy_(grad)
    neurons, channels, pixels = (
        x[0].numel(),
        1,
        1,
    )  # of [B, C, H, W]; channels-last: pixels of a channel are not adjacent
    if scale is not None:
        channels = x.shape[2]
        pixels = 1 if x[0].is_contiguous(memory_format=torch.channels_last) else x[0, 0, 0].numel()
    launch: Any = _backward
    blocks = triton.cdiv(neurons, _BLOCK)
    by_block = torch.empty(blocks if grad_tau is not None else 0, dtype=torch.float32, device=x.device)
    with _current(x):
        launch[(blocks,)](
            x, x if scale is None else scale, x if shift is None else shift, grad, grad_x, by_block,
            tau, v_threshold, v_reset or 0.0, sharpness(surrogate), neurons, channels, pixels,
            T=len(x), LEARNED=grad_tau is not None, MADE=scale is not None, DECAY=decay_input, HARD=v_reset is not None,
            DETACH=detach_reset, KIND=_SURROGATES[type(surrogate)], BLOCK=_BLOCK,
        )  # fmt: skip
    if grad_tau is not None:
        grad_tau += by_block.sum()
    return grad_x
