"""Leaky integrate-and-fire over time: one definition, several ways to compute it."""

from importlib.util import find_spec
from typing import Any

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
    """Spikes of leaky integrate-and-fire neurons that start at rest: `[T, ...] current -> [T, ...] spikes`.

    For each step, with `r = v_reset` (0 if that is None):

        h = v + (x - (v - r)) / tau        charge, with decay_input; else h = v - (v - r) / tau + x
        s = 1 if h >= v_threshold else 0   fire
        v = v_reset where s else h         hard reset; with v_reset None the soft one, h - v_threshold s

    The membrane is fp32 (fp64 for fp64 input), whatever dtype `x` has and `s` takes. `tau` is in steps; a tensor
    must broadcast against `x[0]` and gets a gradient. With `detach_reset` no gradient flows through the reset.
    Backends: "reference" keeps every intermediate for backward, "recompute" only `x`; "native" and "triton" do the same
    in one kernel each way, on a CPU and on a GPU. "auto" picks: "reference" where the computation is traced, compiled
    or transformed.

    Raises ValueError for an unknown backend, for what "native" or "triton" cannot take, for a trace or a transform of
    other than "reference", and for an `x` without a time axis or a step.
    """
    reference.check_time(x)
    if backend != "auto" and backend not in _BACKENDS:
        raise ValueError(f"lif has no backend {backend!r}: choose auto, {', '.join(_BACKENDS)}")
    if backend == "auto":
        backend = _choose(x, tau, surrogate)
    elif backend != "reference" and not runs_eagerly(x, tau):
        raise ValueError(f"lif's {backend} cannot be traced, compiled or transformed: backend='auto' picks another way")
    way: Any = eager
    if backend in ("native", "triton"):
        way = _kernels(backend)
        if refused := way.cannot_take(x, tau, surrogate):
            raise ValueError(f"lif's {backend} cannot be had: {refused}; backend='auto' picks another way")
    settings = (x, tau, v_threshold, v_reset, decay_input, detach_reset, surrogate)
    return reference.lif(*settings) if backend == "reference" else autograd.lif(way, *settings)


def _choose(x: Tensor, tau: float | Tensor, surrogate: Surrogate) -> str:
    if not runs_eagerly(x, tau):
        return "reference"  # a compiler chooses by itself what to keep, and an exported graph is read by other tools
    backend = "triton" if x.is_cuda else "native"
    if backend == "triton" and not _HAS_TRITON:
        return "recompute"
    return "recompute" if _kernels(backend).cannot_take(x, tau, surrogate) else backend


def _kernels(backend: str) -> Any:
    if backend == "native":
        return native
    from spikeformers.ops.lif import triton

    return triton
