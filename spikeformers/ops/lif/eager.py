"""Leaky integrate-and-fire in torch operations, on a chunk of the neurons at a time.

On a CPU memory traffic dominates. So operations run in place on its own buffers, on 0.0 and 1.0 instead of booleans,
and each chunk of samples passes through all steps while it fits in a core's cache.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from spikeformers.ops.lif.reference import at_rest
from spikeformers.ops.surrogate import Surrogate

_IN_CACHE = 1 << 16  # neurons at a time: a quarter of a megabyte a step


def _membrane(
    x: Tensor, v: Tensor, tau: float | Tensor, v_threshold: float, v_reset: float | None, decay_input: bool
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """The membrane after each charge and the spikes, both `[T, ...]`, and a list of those before each charge, from `v`
    on, and after the last step."""
    charged, spikes, before = torch.empty_like(x), torch.empty_like(x), []
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
    return charged, spikes, [*before, v]


def step(x: Tensor, v: Tensor, tau: float | Tensor, *settings: Any) -> tuple[Tensor, Tensor]:
    """The spikes and the membrane of `spikeformers.ops.lif.lif_step`; settings as in `fire`."""
    _, spikes, membranes = _membrane(x[None].to(v.dtype), v, tau, *settings)
    return spikes[0].to(x.dtype), membranes[-1]


def _rows(x: Tensor) -> Tensor:
    """A view `[T, B H W, C]` of channels-last `[T, B, C, H, W]`, or `[T, n]` of contiguous `x`, else `x`."""
    if x.ndim > 1 and len(x) > 1 and x.stride(0) == 0:  # expanded over time
        return (once := _rows(x[:1])).expand(len(x), *once.shape[1:])
    if x.ndim == 5 and (last := x.movedim(2, -1)).is_contiguous():
        return last.flatten(1, 3)
    return x.flatten(1) if x.ndim > 1 and x.is_contiguous() else x


def _parts(x: Tensor, tau: float | Tensor) -> Iterator[Any]:
    """Indices of the chunks of axis 1; a single one on a GPU or if `tau` has axes."""
    if x.ndim < 2 or x.device.type != "cpu" or (isinstance(tau, Tensor) and tau.ndim > 0):
        yield slice(None)
        return
    together = max(1, _IN_CACHE // max(1, x[0, :1].numel()))
    for start in range(0, x.shape[1], together):
        yield slice(None), slice(start, start + together)


def fire(x: Tensor, tau: float | Tensor, *settings: Any) -> Tensor:
    """The spikes of `spikeformers.ops.lif.lif`; settings are v_threshold, v_reset and decay_input."""
    spikes = _empty_like(x, x.dtype)
    x_rows, spike_rows = _alike(tau, x, spikes)
    for part in _parts(x_rows, tau):
        x_wide = _wide(x_rows[part])
        spike_rows[part] = _membrane(x_wide, at_rest(x_wide, settings[1]), tau, *settings)[1]
    return spikes


def _empty_like(x: Tensor, dtype: torch.dtype) -> Tensor:
    """An empty tensor of this shape with the memory format of `x` in each step, which stacking would lose."""
    if x.ndim > 1 and len(x) > 1 and x.stride(0) == 0:
        step = torch.empty_like(x[0], dtype=dtype)
        return torch.empty_strided(x.shape, (step.numel(), *step.stride()), dtype=dtype, device=x.device)
    return torch.empty_like(x, dtype=dtype)


def _alike(tau: float | Tensor, *tensors: Tensor) -> list[Tensor]:
    """The tensors as rows if each has such a view and `tau` has no axes, else unchanged."""
    rows = [_rows(x) for x in tensors]
    same = len({tuple(row.shape) for row in rows}) == 1 and not (isinstance(tau, Tensor) and tau.ndim > 0)
    return rows if same else list(tensors)


def _wide(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def gradients(
    made_of: Tensor,
    scale: Tensor | None,
    shift: Tensor | None,
    grad: Tensor,
    tau: float | Tensor,
    grad_tau: Tensor | None,
    *settings: Any,
) -> Tensor:
    """The gradient of the input, `made_of * scale + shift` or `made_of`; adds that of `tau` to `grad_tau`."""
    dtype = grad.dtype
    grad_x = _empty_like(made_of, dtype)
    grad = grad if grad.stride() == grad_x.stride() else torch.empty_like(grad_x).copy_(grad)
    by_channel = scale is None or made_of.movedim(2, -1).is_contiguous()
    from_rows = _alike(tau, made_of, grad, grad_x) if by_channel else [made_of, grad, grad_x]
    made_of_rows, grad_rows, grad_x_rows = from_rows
    if scale is not None and shift is not None and made_of_rows.ndim == 3:
        scale, shift = scale.flatten(), shift.flatten()  # channels are the last axis
    for part in _parts(made_of_rows, tau):
        x = made_of_rows[part]
        if scale is not None and shift is not None:
            x = torch.addcmul(shift, x.to(scale.dtype), scale).to(dtype)  # rounded as in forward
        grad_x_rows[part] = _gradient(_wide(x), grad_rows[part], tau, grad_tau, *settings)
    return grad_x


def _gradient(
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
    """The gradient of `x`; adds that of `tau` to `grad_tau`. Recomputes the membrane, then runs backward in time."""
    charged, spikes, before = _membrane(x, at_rest(x, v_reset), tau, v_threshold, v_reset, decay_input)
    slope = surrogate(charged - v_threshold)
    grad_h = slope * grad if not detach_reset else slope.mul_(grad)
    stays = None if v_reset is None else spikes.neg_().add_(1)  # share of the membrane left by a hard reset
    grad_v: Tensor | None = None
    for t in reversed(range(len(x))):
        if grad_v is not None:
            if not detach_reset:
                jump = v_threshold if v_reset is None else charged[t] - v_reset  # a spike's drop of the membrane
                grad_h[t].sub_(slope[t] * jump * grad_v)
            grad_h[t].add_(grad_v) if stays is None else grad_h[t].addcmul_(grad_v, stays[t])
        if grad_tau is not None:
            over_rest = before[t] - (v_reset or 0.0)
            driven = x[t] - over_rest if decay_input else -over_rest
            grad_tau -= (grad_h[t] * driven / tau**2).sum_to_size(grad_tau.shape)
        grad_v = grad_h[t] * (1 - 1 / tau)
    return grad_h.div_(tau) if decay_input else grad_h
