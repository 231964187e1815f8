"""The definition of leaky integrate-and-fire, step by step in autograd. Tests compare every backend with it."""

import torch
from torch import Tensor

from spikeformers.ops.surrogate import Surrogate, spike


def check_time(x: Tensor) -> None:
    """Raises ValueError for an input without a time axis or a step."""
    if x.ndim == 0 or len(x) == 0:
        what = "a scalar" if x.ndim == 0 else f"no step, of shape {list(x.shape)}"
        raise ValueError(f"a neuron got {what}: the first axis of its input is time, as in [T, ...], T 1 or more")


def charge(x: Tensor, v: Tensor, tau: float | Tensor, v_reset: float | None, decay_input: bool) -> Tensor:
    """The membrane after a step's input, before it fires: `[...], [...] -> [...]`."""
    over_rest = v - (v_reset or 0.0)
    return v + (x - over_rest) / tau if decay_input else v - over_rest / tau + x


def reset(h: Tensor, s: Tensor, v_threshold: float, v_reset: float | None) -> Tensor:
    """The membrane after firing, hard (to `v_reset`) or soft (minus `v_threshold`): `[...], [...] -> [...]`."""
    return h - v_threshold * s if v_reset is None else h * (1 - s) + v_reset * s


def at_rest(x: Tensor, v_reset: float | None) -> Tensor:
    """The membrane before the first step, at least fp32: a bf16 membrane flips 0.3 to 0.5 % of the spikes."""
    check_time(x)
    return resting(x[0], v_reset)


def resting(x: Tensor, v_reset: float | None) -> Tensor:
    """The membrane before a first step with the input `x`, `[...]`, as in `at_rest`."""
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    return torch.full_like(x, v_reset or 0.0, dtype=dtype)


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
    """One step of `lif`: `[...] current, [...] membrane -> [...] spikes, [...] membrane`."""
    h = charge(x.to(v.dtype), v, tau, v_reset, decay_input)
    s = spike(h - v_threshold, surrogate)
    return s.to(x.dtype), reset(h, s.detach() if detach_reset else s, v_threshold, v_reset)


def lif(
    x: Tensor,
    tau: float | Tensor,
    v_threshold: float,
    v_reset: float | None,
    decay_input: bool,
    detach_reset: bool,
    surrogate: Surrogate,
) -> Tensor:
    """`spikeformers.ops.lif.lif` in plain PyTorch: `[T, ...] current -> [T, ...] spikes`."""
    v = at_rest(x, v_reset)
    spikes = []
    for x_t in x.unbind(0):
        s, v = lif_step(x_t, v, tau, v_threshold, v_reset, decay_input, detach_reset, surrogate)
        spikes.append(s)
    return torch.stack(spikes)
