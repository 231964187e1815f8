"""Leaky integrate-and-fire in two compiled kernels on a CPU: forward through all steps in registers, and back.

A neuron is read once and written once at each step. Sums run in one order, whatever the number of threads.
"""

import ctypes
from typing import Any

import torch
from torch import Tensor

from spikeformers.ops.lif import eager
from spikeformers.ops.spike_product.build import kernels, library
from spikeformers.ops.spike_product.native import at
from spikeformers.ops.surrogate import ATan, Sigmoid, Surrogate, Triangle, sharpness

_SURROGATES = {Sigmoid: 0, ATan: 1, Triangle: 2}
_NEURONS = 1 << 14  # of a task, as kernels.cpp has it


class _Settings(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int32) for name in ("T", "decay_input", "soft", "detach", "surrogate", "C", "bf16")),
        *((name, ctypes.c_float) for name in ("tau", "threshold", "reset", "alpha")),
        *((name, ctypes.c_int64) for name in ("n", "x_step", "grad_step")),
    ]


def cannot_take(x: Tensor, tau: float | Tensor, surrogate: Surrogate) -> str | None:
    """Why the kernels cannot compute this, or None where they can."""
    if x.device.type != "cpu":
        return f"it runs on a CPU, and the input is on {x.device}"
    if x.dtype not in (torch.float32, torch.bfloat16):
        return f"it takes fp32 and bf16, and the input is {x.dtype}"
    if isinstance(tau, Tensor) and (tau.ndim > 0 or tau.device.type != "cpu"):
        return "tau is not one number on the CPU"
    if type(surrogate) not in _SURROGATES:
        return f"it does not know the surrogate {surrogate}"
    return "its kernels are off, or could not be compiled" if kernels() is None else None


def fire(x: Tensor, tau: float | Tensor, v_threshold: float, v_reset: float | None, decay_input: bool) -> Tensor:
    """The spikes of `spikeformers.ops.lif.lif`."""
    last = _channels_last(x)
    rows = _rows(x, last)
    spikes = torch.empty(rows.shape, dtype=x.dtype, device="cpu")
    settings = _settings(rows, tau, v_threshold, v_reset, decay_input)
    library().sf_lif(ctypes.byref(settings), at(rows), at(spikes), torch.get_num_threads())
    return spikes.movedim(-1, 2) if last else spikes


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
    """The gradient of the input, `made_of * scale + shift` or `made_of`; that of `tau` is added to `grad_tau`."""
    if kernels() is None:  # turned off since the spikes were made
        settings = v_threshold, v_reset, decay_input, detach_reset, surrogate
        return eager.gradients(made_of, scale, shift, grad, tau, grad_tau, *settings)
    last, grad = _channels_last(made_of), grad.to(made_of.dtype)  # the kernel reads both as one type
    if scale is not None and shift is not None and not last:
        made_of, scale, shift = torch.addcmul(shift, made_of.float(), scale).to(made_of.dtype), None, None
    rows, grad_rows = _rows(made_of, last), _rows(grad, last)
    grad_x = torch.empty(rows.shape, dtype=grad.dtype, device="cpu")
    settings = _settings(rows, tau, v_threshold, v_reset, decay_input)
    settings.grad_step, settings.detach = grad_rows.stride(0), detach_reset
    settings.surrogate, settings.alpha = _SURROGATES[type(surrogate)], sharpness(surrogate)
    settings.C = 0 if scale is None else scale.numel()
    again = [None if s is None else s.flatten().repeat(1 + -(-16 // s.numel())) for s in (scale, shift)]
    sums = None if grad_tau is None else torch.empty(-(-settings.n // _NEURONS), dtype=torch.float64, device="cpu")
    library().sf_lif_grad(
        ctypes.byref(settings), at(rows), *map(at, again), at(grad_rows), at(grad_x), at(sums), torch.get_num_threads()
    )
    if grad_tau is not None and sums is not None:
        grad_tau += sums.sum()
    return grad_x.movedim(-1, 2) if last else grad_x


def _channels_last(x: Tensor) -> bool:
    return x.ndim == 5 and x[0].movedim(1, -1).is_contiguous()


def _rows(x: Tensor, last: bool) -> Tensor:
    """A tensor or a view of it with each step's numbers one after the other, channels last or as they are."""
    x = x.movedim(2, -1) if last else x
    dense = x[0].is_contiguous() and (len(x) == 1 or x.stride(0) == 0 or x.stride(0) >= x[0].numel())
    return x if dense else x.contiguous()


def _settings(
    rows: Tensor, tau: float | Tensor, v_threshold: float, v_reset: float | None, decay_input: bool
) -> _Settings:
    return _Settings(
        T=len(rows), decay_input=decay_input, soft=v_reset is None, tau=float(tau), threshold=v_threshold,
        reset=v_reset or 0.0, n=rows[0].numel(), x_step=rows.stride(0), bf16=rows.dtype == torch.bfloat16,
    )  # fmt: skip
