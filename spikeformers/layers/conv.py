"""Convolution and batch norm, the pair that carries nearly all weights of a spiking transformer."""

from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from spikeformers.layers.norm import batch_norm, takes_once
from spikeformers.layers.pool import MaxPool
from spikeformers.layers.time import merge_time, split_time
from spikeformers.ops.arguments import check_whole
from spikeformers.ops.notes import Counts, noted
from spikeformers.ops.spike_conv import spike_conv2d


class SpikeConv2d(nn.Conv2d):
    """`nn.Conv2d` that keeps a byte for each input in training, where they are noted to be spikes or counts of them."""

    def forward(self, input: Tensor) -> Tensor:
        counts = noted(input, Counts)
        if counts is None or not torch.is_grad_enabled():
            return super().forward(input)
        settings: Any = (self.stride, self.padding, self.dilation, self.groups)
        return spike_conv2d(input, self.weight, self.bias, *settings, counts.most)


class ConvNorm(nn.Module):
    """A convolution, then batch norm, at every step: `[T, B, C_in, H, W] spikes -> [T, B, C, H', W'] current`.

    Odd kernels are padded to keep the size, `stride` divides it; a kernel as wide as its stride cuts patches. With
    kernel 1, the default, it is the papers' linear layer on tokens; `groups` of channels see only their own. Batch
    statistics are shared by all steps, so nothing that depends on t has parameters. An input that is one image at all
    steps (expanded over T) is computed once.
    """

    norm: Any  # BatchNorm2d; once folded, Identity

    def __init__(
        self, in_dim: int, dim: int, kernel_size: int = 1, stride: int = 1, *, groups: int = 1, bias: bool = False
    ):
        super().__init__()
        check_whole(in_dim=in_dim, dim=dim, kernel_size=kernel_size, stride=stride, groups=groups)
        if in_dim % groups or dim % groups:
            raise ValueError(f"in_dim {in_dim} and dim {dim} are not multiples of groups {groups}: it divides both")
        if stride == 1:
            check_odd(kernel_size)
        padding = max(kernel_size - stride + 1, 0) // 2
        self.conv = SpikeConv2d(in_dim, dim, kernel_size, stride, padding, groups=groups, bias=bias)
        self.norm = nn.BatchNorm2d(dim)

    def forward(self, x: Tensor) -> Tensor:
        steps = x.shape[0]
        if takes_once(self.norm, x):
            y = batch_norm(self.norm, self.conv(x[0])[None], shown=steps)
            return y.expand(steps, *y.shape[1:])
        return batch_norm(self.norm, split_time(self.conv(merge_time(x)), steps))

    def folded(self) -> Self:
        """This part with the norm in the convolution, as running statistics have it: for inference."""
        self.conv, self.norm = fuse_conv_bn_eval(self.conv, self.norm), nn.Identity()
        return self

    def extra_repr(self) -> str:
        size, stride = self.conv.kernel_size[0], self.conv.stride[0]
        return f"{self.conv.in_channels} -> {self.conv.out_channels}, {size} x {size}" + f", stride {stride}" * (
            stride > 1
        )


def check_odd(kernel_size: int) -> None:
    """Raises ValueError for a kernel that has no middle: the map would not keep its size."""
    check_whole(kernel_size=kernel_size)
    if kernel_size % 2 == 0:
        raise ValueError(f"kernel_size {kernel_size} has no middle, and the map would change its size: give an odd one")


def one_convolution(weight: Tensor, bias: Tensor) -> ConvNorm:
    """A folded `ConvNorm` with a weight `[C, C_in, k, k]` and a bias `[C]`: what a chain of layers folds into."""
    dim, in_dim, kernel_size, _ = weight.shape
    part = ConvNorm(in_dim, dim, kernel_size, bias=True).to(weight)
    part.conv.weight, part.conv.bias = nn.Parameter(weight, False), nn.Parameter(bias, False)
    part.norm = nn.Identity()
    return part.eval()


class PooledConvNorm(ConvNorm):
    """ConvNorm that pools where ConvNorm would stride: `[T, B, C_in, H, W] spikes -> [T, B, C, H', W'] current`.

    With `stride` 2 a 3x3 max pool follows the norm, so that it is current, not spikes, of which the largest is kept:
    the CML order, Zhou et al., arXiv:2305.05954.

    Raises ValueError for other strides than 1 and 2.
    """

    def __init__(self, in_dim: int, dim: int, kernel_size: int = 1, stride: int = 1, *, bias: bool = False):
        if stride not in (1, 2):
            raise ValueError(f"a convolution with a pool cannot have stride {stride}: 1 keeps the size, 2 halves it")
        super().__init__(in_dim, dim, kernel_size, bias=bias)
        self.pool = MaxPool(3, 2, padding=1) if stride == 2 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return split_time(self.pool(merge_time(super().forward(x))), x.shape[0])
