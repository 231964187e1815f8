"""Learned scales of branches."""

import torch
from torch import Tensor, nn

from spikeformers.ops.arguments import check_finite, check_whole


class LayerScale(nn.Module):
    """`scale * core(x)`, one learned number per channel: `[T, B, C, H, W] spikes -> [T, B, C, H, W] current`.

    It folds into the norm at the end of the core. Touvron et al., ICCV 2021, arXiv:2103.17239.
    """

    def __init__(self, core: nn.Module, dim: int, init: float = 1e-6):
        super().__init__()
        check_whole(dim=dim)
        check_finite(init=init)
        self.core, self.scale = core, nn.Parameter(torch.full((dim,), float(init)))

    def forward(self, x: Tensor) -> Tensor:
        return self.core(x) * self.scale.view(-1, 1, 1)


class NoScale(nn.Module):
    """`core(x)` under the keys of a LayerScale, for models whose fine-tuned form adds the scale."""

    def __init__(self, core: nn.Module):
        super().__init__()
        self.core = core

    def forward(self, x: Tensor) -> Tensor:
        return self.core(x)
