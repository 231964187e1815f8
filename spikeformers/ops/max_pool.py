"""Max pooling that saves only the two-byte positions of the maxima for backward, not its input."""

from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from spikeformers.ops.tracing import runs_eagerly

_TOGETHER = 1 << 20  # outputs at a time: torch returns their positions in eight bytes each


class _MaxPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, *settings: Any) -> Tensor:
        pixels = x.shape[-1] * x.shape[-2]
        pieces = []
        for part in x.split(_samples_together(x, settings[1])):
            y, places = torch.ops.aten.max_pool2d_with_indices(part, *settings)
            pieces.append((y, places.to(torch.uint16 if pixels <= 1 << 16 else torch.int32)))
        y, places = (torch.cat(kind) if len(pieces) > 1 else kind[0] for kind in zip(*pieces, strict=True))
        ctx.save_for_backward(places)
        ctx.settings, ctx.shape = settings, x.shape
        ctx.channels_last = x.is_contiguous(memory_format=torch.channels_last)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (places,) = ctx.saved_tensors
        layout = torch.channels_last if ctx.channels_last else torch.contiguous_format
        grad_x = torch.empty(ctx.shape, dtype=grads[0].dtype, device=places.device, memory_format=layout)
        together = _samples_together(grad_x, ctx.settings[1])
        for part, grad, at in zip(
            grad_x.split(together), grads[0].split(together), places.split(together), strict=True
        ):
            torch.ops.aten.max_pool2d_with_indices_backward.grad_input(
                grad,
                part,  # stands in for the input: only its shape is read
                *ctx.settings,
                at.long(),
                grad_input=part,
            )
        return grad_x, *[None] * len(ctx.settings)


def _samples_together(x: Tensor, stride: list[int]) -> int:
    return max(1, _TOGETHER * prod(stride) // max(1, x[:1].numel()))


def max_pool2d(
    x: Tensor,
    kernel_size: int | tuple[int, ...],
    stride: int | tuple[int, ...],
    padding: int | tuple[int, ...] = 0,
    dilation: int | tuple[int, ...] = 1,
    ceil_mode: bool = False,
) -> Tensor:
    """`torch.nn.functional.max_pool2d`, differentiable once: `[B, C, H, W] -> [B, C, H', W']`.

    Args:
        x, kernel_size, stride, padding, dilation, ceil_mode: As in torch.

    Returns:
        The maxima. Backward saves two bytes per output, or four for maps of more than 65536 pixels.
    """
    if not runs_eagerly(x):
        return torch.nn.functional.max_pool2d(x, kernel_size, stride, padding, dilation, ceil_mode)
    sizes = [[size, size] if isinstance(size, int) else list(size) for size in (kernel_size, stride, padding, dilation)]
    return _MaxPool.apply(x, *sizes, ceil_mode)
