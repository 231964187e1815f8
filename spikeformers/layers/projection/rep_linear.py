"""A chain of linear layers that folds into one once trained."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from spikeformers.layers.conv import ConvNorm, one_convolution
from spikeformers.layers.norm import batch_norm
from spikeformers.ops.arguments import check_positive, check_whole


class RepLinear(nn.Module):
    """1x1 and norm, 1x1 and norm, norm: `[T, B, C_in, H, W] spikes -> [T, B, C, H, W] current`.

    The hidden width is `ratio` times the input's. Without an activation inside, it folds into one linear layer of
    C_in C additions per token. `bias` is that of the last convolution. Spike-driven Transformer V3, Yao et al.,
    arXiv:2411.16061.
    """

    def __init__(self, in_dim: int, dim: int, *, bias: bool = False, ratio: float = 1.5):
        super().__init__()
        check_whole(in_dim=in_dim, dim=dim)
        check_positive(ratio=ratio)
        if ratio * in_dim < 1:
            raise ValueError(f"ratio {ratio} of in_dim {in_dim} leaves no hidden channel: give a larger one")
        self.expand = ConvNorm(in_dim, int(ratio * in_dim))
        self.proj = ConvNorm(int(ratio * in_dim), dim, bias=bias)
        self.norm = nn.BatchNorm2d(dim)

    def forward(self, x: Tensor) -> Tensor:
        return batch_norm(self.norm, self.proj(self.expand(x)))

    @torch.no_grad()
    def folded(self) -> ConvNorm:
        """The equivalent 1x1 convolution, by running statistics, for inference."""
        first: Any = self.expand.folded().conv
        last: Any = fuse_conv_bn_eval(self.proj.folded().conv, self.norm)
        outer, inner = last.weight.flatten(1), first.weight.flatten(1)
        return one_convolution((outer @ inner)[..., None, None], outer @ first.bias + last.bias)
