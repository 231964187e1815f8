"""Stochastic depth for sequences."""

import torch
from torch import Tensor, nn

from spikeformers.ops.arguments import check_finite


class DropPath(nn.Module):
    """Zeroes a sample's branch at all steps, in training only: `[T, B, ...] -> [T, B, ...]`.

    Kept branches are divided by `1 - rate`, which preserves the mean. Huang et al., ECCV 2016, arXiv:1603.09382.

    Raises ValueError for a rate outside [0, 1).
    """

    def __init__(self, rate: float = 0.0):
        super().__init__()
        check_finite(drop_path=rate)
        if not 0 <= rate < 1:
            raise ValueError(f"drop_path {rate} is not in [0, 1): give the share of branches to drop")
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if self.rate == 0 or not self.training:
            return x
        keep = 1 - self.rate
        kept = torch.rand(x.shape[1], device=x.device) < keep
        return x * (kept.to(x.dtype) / keep).view(1, -1, *[1] * (x.ndim - 2))

    def extra_repr(self) -> str:
        return f"rate={self.rate}"
