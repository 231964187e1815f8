"""Leaky integrate-and-fire over time: one definition, several backends."""

from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from spikeformers.ops.lif import autograd, eager, native, reference
from spikeformers.ops.surrogate import Sigmoid, Surrogate
from spikeformers.ops.tracing import runs_eagerly

_BACKENDS = ("reference", "recompute", "native", "triton")
_HAS_TRITON = find_spec("triton") is not None


def lif(
    x: Tensor,
    tau: float | Tensor = 2.0,
    v_threshold: float = 1.0,
    v_reset: float | None = 0.0,
    *,
    decay_input: bool = True,
    detach_reset: bool = True,
    surrogate: Surrogate = Sigmoid(),
    backend: str = "auto",
) -> Tensor:
    """Leaky integrate-and-fire neurons, initially at rest: `[T, ...] current -> [T, ...] spikes`.

    Each step, with `r = v_reset` (0 if None):

        h = v + (x - (v - r)) / tau        charge, with decay_input; else h = v - (v - r) / tau + x
        s = 1 if h >= v_threshold else 0   fire
        v = v_reset where s else h         hard reset; if v_reset is None, soft: h - v_threshold s

    The membrane is fp32, or fp64 for fp64 input.

    Args:
        x: Input current; the first axis is time.
        tau: Time constant in steps. A tensor must broadcast against `x[0]` and gets a gradient.
        v_threshold: The neuron fires at or above it.
        v_reset: Membrane after a spike; None is a soft reset.
        decay_input: Whether the input is divided by `tau` too.
        detach_reset: Whether the reset gets no gradient.
        surrogate: Derivative of the spike in backward.
        backend: "reference" saves every intermediate for backward; "recompute" only `x`; "native" on a CPU and
            "triton" on a GPU too, in one kernel each way. "auto" picks one, "reference" if traced, compiled or
            transformed.

    Returns:
        Spikes, 0 or 1, in the shape and dtype of `x`.

    Raises:
        ValueError: `x` has no time axis or no step; the backend is unknown or does not support the input.
    """
    reference.check_time(x)
    if backend != "auto" and backend not in _BACKENDS:
        raise ValueError(f"lif has no backend {backend!r}: choose auto, {', '.join(_BACKENDS)}")
    if backend == "auto":
        backend = _choose(x, tau, surrogate)
    elif backend != "reference" and not runs_eagerly(x, tau):
        raise ValueError(f"lif's {backend} cannot be traced, compiled or transformed: use backend='auto'")
    way: Any = eager
    if backend in ("native", "triton"):
        way = _kernels(backend)
        if refused := way.cannot_take(x, tau, surrogate):
            raise ValueError(f"lif cannot run in {backend.title()}: {refused}; use backend='auto'")
    settings = (x, tau, v_threshold, v_reset, decay_input, detach_reset, surrogate)
    return reference.lif(*settings) if backend == "reference" else autograd.lif(way, *settings)


def lif_step(
    x: Tensor,
    v: Tensor,
    tau: float | Tensor,
    v_threshold: float,
    v_reset: float | None,
    decay_input: bool,
    detach_reset: bool,
    surrogate: Surrogate,
) -> tuple[Tensor, Tensor]:
    """One step of `lif` from a membrane `v` on: `[...] current, [...] membrane -> [...] spikes, [...] membrane`."""
    needs_gradient = any(isinstance(y, Tensor) and y.requires_grad for y in (x, v, tau))
    if runs_eagerly(x, v, tau) and not (torch.is_grad_enabled() and needs_gradient):
        return eager.step(x, v, tau, v_threshold, v_reset, decay_input)
    return reference.lif_step(x, v, tau, v_threshold, v_reset, decay_input, detach_reset, surrogate)


def _choose(x: Tensor, tau: float | Tensor, surrogate: Surrogate) -> str:
    if not runs_eagerly(x, tau):
        return "reference"  # compilers choose what to save, and other tools read exported graphs
    backend = "triton" if x.is_cuda else "native"
    if backend == "triton" and not _HAS_TRITON:
        return "recompute"
    return "recompute" if _kernels(backend).cannot_take(x, tau, surrogate) else backend


def _kernels(backend: str) -> Any:
    if backend == "native":
        return native
    from spikeformers.ops.lif import triton

    return triton
