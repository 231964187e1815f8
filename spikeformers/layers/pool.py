"""Max pooling."""

from typing import Any

import torch
from torch import Tensor, nn

from spikeformers.ops.max_pool import max_pool2d
from spikeformers.ops.notes import carried


class MaxPool(nn.MaxPool2d):
    """`nn.MaxPool2d` with numbers for sizes, that keeps two bytes for each output in training: `[B, C, H, W]`."""

    def forward(self, input: Tensor) -> Tensor:
        if not (torch.is_grad_enabled() and input.requires_grad) or torch.compiler.is_compiling():
            pooled: Any = super().forward(input)
            return pooled
        sizes: Any = (self.kernel_size, self.stride, self.padding)
        return carried(input, max_pool2d(input, *sizes))
