"""A chain of convolutions that folds into one 3x3 convolution once trained."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.nn.utils.fusion import fuse_conv_bn_eval

from spikeformers.layers.conv import ConvNorm, SpikeConv2d, one_convolution
from spikeformers.layers.norm import batch_norm
from spikeformers.layers.time import merge_time, split_time


class RepConv(nn.Module):
    """1x1 and norm, depthwise 3x3, 1x1 and norm, norm: `[T, B, C_in, H, W] spikes -> [T, B, C, H, W] current`.

    Without an activation inside, it folds into one dense 3x3 convolution of 9 C_in C additions per token. To make this
    exact, the depthwise convolution is padded with the first norm's output for input 0. That value uses the running
    statistics, which in training are already updated, and carries no gradient. `bias` is that of the last 1x1
    convolution. Meta-SpikeFormer, Yao et al., ICLR 2024, arXiv:2404.03663. Released code: equal, to 1e-6 in
    Meta-SpikeFormer's logits.
    """

    def __init__(self, in_dim: int, dim: int, *, bias: bool = False):
        super().__init__()
        self.pointwise = ConvNorm(in_dim, in_dim)
        self.depthwise = SpikeConv2d(in_dim, in_dim, 3, groups=in_dim, bias=False)
        self.proj = ConvNorm(in_dim, dim, bias=bias)
        self.norm = nn.BatchNorm2d(dim)

    def forward(self, x: Tensor) -> Tensor:
        y = _with_border(merge_time(self.pointwise(x)), _of_zero(self.pointwise.norm))  # T B, C, H + 2, W + 2
        y = self.proj(split_time(self.depthwise(y), x.shape[0]))
        return batch_norm(self.norm, y)

    @torch.no_grad()
    def folded(self) -> ConvNorm:
        """The equivalent dense 3x3 convolution, by running statistics, for inference.

        The depthwise convolution is padded with the first layer's output for 0, so the dense one is padded with 0.
        """
        first: Any = self.pointwise.folded().conv
        last: Any = fuse_conv_bn_eval(self.proj.folded().conv, self.norm)
        outer, middle, inner = last.weight.flatten(1), self.depthwise.weight[:, 0], first.weight.flatten(1)
        weight = torch.einsum("oc,chw,ci->oihw", outer, middle, inner)
        return one_convolution(weight, outer @ (middle.sum((1, 2)) * first.bias) + last.bias)


@torch.no_grad()
def _of_zero(norm: Any) -> Tensor:
    """A norm's output for 0 by its running statistics: `[C]`."""
    return norm.bias - norm.running_mean * norm.weight / (norm.running_var + norm.eps).sqrt()


def _with_border(x: Tensor, border: Tensor) -> Tensor:
    """`[..., C, H, W] -> [..., C, H + 2, W + 2]`, padded with a value per channel; `pad` takes one number only."""
    frame = pad(x.new_zeros(x.shape[-2:]), (1, 1, 1, 1), value=1.0)
    return pad(x, (1, 1, 1, 1)) + border.to(x.dtype).view(-1, 1, 1) * frame
