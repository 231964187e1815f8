"""Max pooling."""

import torch
from torch import Tensor, nn

from spikeformers.ops.max_pool import max_pool2d


class MaxPool(nn.MaxPool2d):
    """`nn.MaxPool2d` with numbers for sizes, that keeps two bytes for each output in training: `[B, C, H, W]`."""

    def forward(self, input: Tensor) -> Tensor:
        if not (torch.is_grad_enabled() and input.requires_grad) or torch.compiler.is_compiling():
            return super().forward(input)  # pyright: ignore[reportReturnType]
        return max_pool2d(input, self.kernel_size, self.stride, self.padding)  # pyright: ignore[reportArgumentType]
