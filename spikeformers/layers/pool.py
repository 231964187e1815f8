"""Max pooling."""

import torch
from torch import Tensor, nn

from spikeformers.ops.max_pool import max_pool2d


class MaxPool(nn.MaxPool2d):
    """`nn.MaxPool2d` that keeps two bytes for each output in training, all its arguments: `[B, C, H, W]`."""

    def forward(self, input: Tensor) -> Tensor:
        if self.return_indices or input.ndim != 4 or not (torch.is_grad_enabled() and input.requires_grad):
            return super().forward(input)  # pyright: ignore[reportReturnType]
        return max_pool2d(input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)
