"""Max pooling."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.utils import _pair

from spikeformers.ops.arguments import check_sizes, check_whole
from spikeformers.ops.max_pool import max_pool2d
from spikeformers.ops.notes import carried


class MaxPool(nn.MaxPool2d):
    """`nn.MaxPool2d` that saves two bytes per output for backward: `[B, C, H, W] -> [B, C, H', W']`.

    Raises ValueError for sizes that are not integers, and, when called, for a dilated window entirely in the padding:
    torch would return -inf and put its gradient elsewhere.
    """

    def __init__(
        self, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, return_indices: bool = False,
        ceil_mode: bool = False,
    ):  # fmt: skip
        stride = kernel_size if stride is None else stride
        check_sizes(kernel_size=_pair(kernel_size), stride=_pair(stride), dilation=_pair(dilation))
        for number in _pair(padding):
            check_whole(0, padding=number)
        super().__init__(kernel_size, stride, padding, dilation, return_indices, ceil_mode)

    def forward(self, input: Tensor) -> Tensor:
        if self.return_indices or input.ndim != 4 or not (torch.is_grad_enabled() and input.requires_grad):
            pooled = super().forward(input)
        else:
            settings = (self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)
            pooled = carried(input, max_pool2d(input, *settings))
        if _pair(self.dilation) != (1, 1):
            self._check_windows(input, pooled[0] if isinstance(pooled, tuple) else pooled)
        return pooled  # pyright: ignore[reportReturnType]

    def _check_windows(self, x: Tensor, pooled: Tensor) -> None:
        settings = zip(*map(_pair, (self.kernel_size, self.stride, self.padding, self.dilation)), strict=True)
        for size, outputs, (kernel, stride, padding, dilation) in zip(
            x.shape[-2:], pooled.shape[-2:], settings, strict=True
        ):
            for start in (i * stride - padding for i in range(outputs)):
                if not any(0 <= start + k * dilation < size for k in range(kernel)):
                    raise ValueError(
                        f"a window of kernel_size {kernel} and dilation {dilation} sees none of {size} pixels: "
                        "give less padding or dilation, or a larger map"
                    )
