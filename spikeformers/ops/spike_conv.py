"""Convolution of spikes that saves its input in a byte each for backward, and skips zeros where that is faster."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import conv2d

from spikeformers.ops.spike_product import kernels, training
from spikeformers.ops.spike_product.native import Window
from spikeformers.ops.tracing import runs_eagerly


class _SpikeConv(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        window: Window,
        groups: int,
        most: int,
        skip_zeros: bool,
    ) -> Tensor:
        ctx.dtype, ctx.bias = x.dtype, None if bias is None else bias.dtype
        ctx.window, ctx.groups, ctx.counts, ctx.sparse = window, groups, most > 1, False
        if not skip_zeros or training.refuses(x, weight, bias, groups):
            ctx.save_for_backward(x.to(torch.uint8), weight)
            return conv2d(x, weight, bias, *window[1:], groups)
        spikes, density = training.as_bytes(x)
        ctx.save_for_backward(spikes, weight)
        ctx.sparse = density <= training.DENSEST_GRADIENT and training.can_differentiate(x.shape, window)
        if density > training.DENSEST or weight.shape[1] < training.FEWEST:
            return conv2d(x, weight, bias, *window[1:], groups)
        return training.current(spikes, weight, bias, window, counts=ctx.counts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,), (spikes, weight) = grads, ctx.saved_tensors
        sparse = ctx.sparse and ctx.needs_input_grad[1] and kernels() is not None
        dense = ctx.needs_input_grad[1] and not sparse
        wants_bias = ctx.bias is not None and ctx.needs_input_grad[2]
        needed = [ctx.needs_input_grad[0], dense, wants_bias and dense]
        grad_x = grad_weight = grad_bias = None
        if any(needed):
            # without a gradient of the weight, only the shape and the layout of the input are read
            x = spikes.to(grad.dtype) if needed[1] else torch.empty_like(spikes, dtype=grad.dtype)
            _, stride, padding, dilation = ctx.window
            grad_x, grad_weight, grad_bias = torch.ops.aten.convolution_backward(
                grad,
                x,
                weight.to(grad.dtype),  # as autocast did in forward
                None if ctx.bias is None else [weight.shape[0]],
                stride,
                padding,
                dilation,
                False,
                [0, 0],
                ctx.groups,
                needed,
            )
        if wants_bias and not dense:  # oneDNN gets it by making the weight's gradient too
            grad_bias = grad.sum((0, 2, 3), dtype=ctx.bias)
        if sparse:
            grad_weight = training.weight_gradient(spikes, grad, weight, ctx.window, counts=ctx.counts)
        grad_x = None if grad_x is None else grad_x.to(ctx.dtype)
        grad_weight = None if grad_weight is None else grad_weight.to(weight.dtype)
        grad_bias = None if grad_bias is None else grad_bias.to(ctx.bias)
        return grad_x, grad_weight, grad_bias, None, None, None, None


def spike_conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
    most: int = 255,
    *,
    skip_zeros: bool = True,
) -> Tensor:
    """`conv2d` of integers from 0 to `most`, differentiable once: `[B, C_in, H, W] -> [B, C, H', W'] current`.

    Args:
        x: Spikes or counts; other values give wrong results.
        most: The largest value that `x` can hold, at most 255.
        skip_zeros: Whether the CPU's kernels may skip zeros where few are not zero; then the whole of `x` decides about
            the order of sums.
        weight, bias, stride, padding, dilation, groups: As in `torch.nn.functional.conv2d`.

    Returns:
        The current.
    """
    if not runs_eagerly(x, weight):
        return conv2d(x, weight, bias, stride, padding, dilation, groups)
    window = Window((weight.shape[2], weight.shape[3]), stride, padding, dilation)
    return _SpikeConv.apply(x, weight, bias, window, groups, most, skip_zeros)
