"""What the kernels compute, in plain torch. Every faster way is held against this."""

import math

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from spikeformers.ops.lif.reference import charge, reset
from spikeformers.ops.spike_product.neuron import CURRENT, INTEGER, Neuron


def neuron(x: Tensor, z: Neuron) -> Tensor:
    """`[T, ...] current -> [T, ...] bytes`."""
    if z.kind == CURRENT:
        raise ValueError("a current has no neuron: name one")
    v = torch.full_like(x[0], z.v_reset or 0.0)
    bytes_ = []
    for x_t in x.unbind(0):
        h = charge(x_t, v, math.inf if math.isinf(z.tau) else z.tau, z.v_reset, z.decay_input) if z.membrane else x_t
        if z.kind == INTEGER:
            n = (h / z.threshold).clamp(0, z.top)
            n = (n + 0.5).floor() if z.half_up else n.round()
            v = h - z.threshold * n
        else:
            h = torch.relu(z.gain * h) if z.gain else h
            n = (h >= z.threshold).to(h.dtype)
            v = reset(h, n, z.threshold, z.v_reset)
        bytes_.append(n.to(torch.uint8))
    return torch.stack(bytes_)


def conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
    time_steps: int,
    z: Neuron | None,
    residual: Tensor | None = None,
) -> tuple[Tensor | None, Tensor]:
    """`[T B, C_in, H, W] bytes -> ([T B, C, H', W'] bytes or None, the same current)`."""
    current = conv2d(x.to(weight.dtype), weight, bias, stride, padding, dilation, groups)
    current = current if residual is None else current + residual
    if z is None:
        return None, current
    return neuron(current.unflatten(0, (time_steps, -1)), z).flatten(0, 1), current


def attention(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    """`scale q (k^T v)`: `[..., N, D]` bytes each `-> [..., N, D] current`."""
    q, k, v = (x.float() for x in (q, k, v))
    return scale * (q @ (k.transpose(-2, -1) @ v))
