"""Max pooling whose backward keeps where the largest values were, in two bytes each, and not what they were among."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class _MaxPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, *settings: int) -> Tensor:
        y, places = torch.ops.aten.max_pool2d_with_indices(x, *([value, value] for value in settings))
        pixels = x.shape[-1] * x.shape[-2]
        ctx.save_for_backward(places.to(torch.uint16 if pixels <= 1 << 16 else torch.int32))
        ctx.settings = settings
        ctx.shape, ctx.channels_last = x.shape, x.is_contiguous(memory_format=torch.channels_last)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (places,) = ctx.saved_tensors
        layout = torch.channels_last if ctx.channels_last else torch.contiguous_format
        grad_x = torch.empty(ctx.shape, dtype=grads[0].dtype, device=places.device, memory_format=layout)
        torch.ops.aten.max_pool2d_with_indices_backward.grad_input(
            grads[0],
            grad_x,  # in place of the input, of which only the shape is read
            *([value, value] for value in ctx.settings),
            [1, 1],
            False,
            places.long(),
            grad_input=grad_x,
        )
        return grad_x, *[None] * len(ctx.settings)


def max_pool2d(x: Tensor, kernel_size: int, stride: int, padding: int) -> Tensor:
    """`torch.nn.functional.max_pool2d`, differentiable once: `[B, C, H, W] -> [B, C, H', W']`."""
    return _MaxPool.apply(x, kernel_size, stride, padding)  # pyright: ignore[reportReturnType]
