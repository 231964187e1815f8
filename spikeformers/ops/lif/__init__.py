"""Leaky integrate-and-fire over time: one definition, several ways to compute it."""

from typing import Any

import torch
from torch import Tensor

from spikeformers.ops.lif import recompute, reference
from spikeformers.ops.surrogate import Sigmoid, Surrogate

_BACKENDS = {"reference": reference.lif, "recompute": recompute.lif}


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
    Backends: "reference" keeps every intermediate for backward, "recompute" only `x`, "auto" picks.

    Raises ValueError for an unknown backend and for an `x` without a time axis.
    """
    if x.ndim == 0:
        raise ValueError("lif got a scalar: the first axis of its input is time, as in [T, ...]")
    if backend != "auto" and backend not in _BACKENDS:
        raise ValueError(f"lif has no backend {backend!r}: choose auto, {', '.join(_BACKENDS)}")
    if backend == "auto":  # a compiler chooses by itself what to keep, and an exported graph is read by other tools
        backend = "reference" if torch.compiler.is_compiling() else "recompute"
    compute: Any = _BACKENDS[backend]
    return compute(x, tau, v_threshold, v_reset, decay_input, detach_reset, surrogate)
