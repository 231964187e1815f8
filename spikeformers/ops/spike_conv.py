"""Convolution of spikes that saves its input in a byte each for backward, and skips zeros where that is faster."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import conv2d

from spikeformers.ops.spike_product import training
from spikeformers.ops.spike_product.native import Window
from spikeformers.ops.tracing import runs_eagerly


class _SpikeConv(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, counts: bool, *settings: Any) -> Tensor:
        ctx.dtype, ctx.bias, ctx.settings = x.dtype, None if bias is None else bias.dtype, settings
        ctx.counts, ctx.sparse = counts, False
        if training.refuses(x, weight, bias, settings[-1]):
            ctx.save_for_backward(x.to(torch.uint8), weight)
            return conv2d(x, weight, bias, *settings)
        window = Window(tuple(weight.shape[2:]), *settings[:3])
        spikes, density = training.as_bytes(x)
        ctx.save_for_backward(spikes, weight)
        ctx.sparse = density <= training.DENSEST_GRADIENT and training.can_differentiate(x.shape, window)
        if density > training.DENSEST:
            return conv2d(x, weight, bias, *settings)
        return training.current(spikes, weight, bias, window, counts=counts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,), (spikes, weight) = grads, ctx.saved_tensors
        stride, padding, dilation, groups = ctx.settings
        needs_weight = ctx.needs_input_grad[1]
        sparse = ctx.sparse and needs_weight
        needed = [
            ctx.needs_input_grad[0],
            needs_weight and not sparse,
            ctx.bias is not None and ctx.needs_input_grad[2],
        ]
        grad_x = grad_weight = grad_bias = None
        if any(needed):
            # without a gradient of the weight only the shape and the layout of the input are read
            x = spikes.to(grad.dtype) if needed[1] else torch.empty_like(spikes, dtype=grad.dtype)
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
                groups,
                needed,
            )
        if sparse:
            window = Window(tuple(weight.shape[2:]), stride, padding, dilation)
            grad_weight = training.weight_gradient(spikes, grad, weight, window, counts=ctx.counts)
        grad_x = None if grad_x is None else grad_x.to(ctx.dtype)
        grad_weight = None if grad_weight is None else grad_weight.to(weight.dtype)
        grad_bias = None if grad_bias is None else grad_bias.to(ctx.bias)
        return grad_x, grad_weight, grad_bias, None, *[None] * len(ctx.settings)


def spike_conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    groups: int,
    most: int = 255,
) -> Tensor:
    """`conv2d` of integers from 0 to `most`, differentiable once: `[B, C_in, H, W] -> [B, C, H', W'] current`.

    Args:
        x: Spikes or counts; other values give wrong weight gradients.
        most: The largest value that `x` can hold, at most 255.
        weight, bias, stride, padding, dilation, groups: As in `torch.nn.functional.conv2d`.

    Returns:
        The current.
    """
    if not runs_eagerly(x, weight):
        return conv2d(x, weight, bias, stride, padding, dilation, groups)  # pyright: ignore[reportArgumentType, reportCallIssue]
    return _SpikeConv.apply(x, weight, bias, most > 1, stride, padding, dilation, groups)
