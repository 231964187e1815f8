"""Convolution of spikes that saves its input in a byte each for backward."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import conv2d

from spikeformers.ops.tracing import runs_eagerly


class _SpikeConv(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, *settings: Any) -> Tensor:
        ctx.save_for_backward(x.to(torch.uint8), weight)
        ctx.dtype, ctx.bias, ctx.settings = x.dtype, None if bias is None else bias.dtype, settings
        return conv2d(x, weight, bias, *settings)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,), (spikes, weight) = grads, ctx.saved_tensors
        stride, padding, dilation, groups = ctx.settings
        grad_x, grad_weight, grad_bias = torch.ops.aten.convolution_backward(
            grad,
            spikes.to(grad.dtype),
            weight.to(grad.dtype),  # as autocast did in forward
            None if ctx.bias is None else [weight.shape[0]],
            stride,
            padding,
            dilation,
            False,
            [0, 0],
            groups,
            [ctx.needs_input_grad[0], ctx.needs_input_grad[1], ctx.bias is not None and ctx.needs_input_grad[2]],
        )
        grad_x = None if grad_x is None else grad_x.to(ctx.dtype)
        grad_weight = None if grad_weight is None else grad_weight.to(weight.dtype)
        grad_bias = None if grad_bias is None else grad_bias.to(ctx.bias)
        return grad_x, grad_weight, grad_bias, *[None] * len(ctx.settings)


def spike_conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    groups: int,
) -> Tensor:
    """`conv2d` of integers from 0 to 255, differentiable once: `[B, C_in, H, W] -> [B, C, H', W'] current`.

    Args:
        x: Spikes or counts; other values give wrong weight gradients.
        weight, bias, stride, padding, dilation, groups: As in `torch.nn.functional.conv2d`.

    Returns:
        The current.
    """
    if not runs_eagerly(x, weight):
        return conv2d(x, weight, bias, stride, padding, dilation, groups)  # pyright: ignore[reportArgumentType, reportCallIssue]
    return _SpikeConv.apply(x, weight, bias, stride, padding, dilation, groups)
