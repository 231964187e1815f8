"""Convolution and batch norm, which hold nearly all weights of a spiking transformer."""

from typing import Any, Self, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d
from torch.nn.utils.fusion import fuse_conv_bn_eval

from spikeformers.layers.linear import QuantizableLayer
from spikeformers.layers.norm import batch_norm, takes_once
from spikeformers.layers.pool import MaxPool
from spikeformers.layers.time import at_each_step, merge_time, split_time
from spikeformers.ops.arguments import check_whole
from spikeformers.ops.layout import keep_layout
from spikeformers.ops.notes import Counts, noted
from spikeformers.ops.spike_conv import spike_conv2d


class SpikeConv2d(QuantizableLayer, nn.Conv2d):
    """`nn.Conv2d` that saves inputs noted as spikes or counts in a byte each for backward.

    In training on a CPU it skips their zeros where that is faster. Its weights may be quantised.
    """

    def forward(self, input: Tensor) -> Tensor:
        counts = noted(input, Counts)
        weight = self.used_weight()
        stride, padding, dilation = (cast(tuple[int, int], s) for s in (self.stride, self.padding, self.dilation))
        if self._subsamples and torch.is_grad_enabled() and not input.is_cuda:
            input, stride = input[..., :: stride[0], :: stride[1]], (1, 1)
        if counts is None or not torch.is_grad_enabled():
            return conv2d(input, weight, self.bias, stride, padding, dilation, self.groups)
        # not in evaluation, where no step's rounding may depend on a later step
        settings = (stride, padding, dilation, self.groups, counts.most)
        return spike_conv2d(input, weight, self.bias, *settings, skip_zeros=self.training)

    @property
    def _subsamples(self) -> bool:
        """Whether to take every n-th pixel first.

        oneDNN's weight gradient of 1x1 convolutions with stride 2 and 4 to 15 channels, channels last, writes outside
        of its memory (torch 2.14).
        """
        return self.kernel_size == (1, 1) and self.stride != (1, 1) and self.in_channels < 16


class ConvNorm(nn.Module):
    """Convolution and batch norm at every step: `[T, B, C_in, H, W] spikes -> [T, B, C, H', W'] current`.

    Odd kernels are padded to keep the size; `stride` divides it. A kernel as wide as its stride splits the image into
    patches. With kernel 1, the default, it is the papers' linear layer on tokens. `groups` splits the channels. All
    steps share batch statistics, so no parameter depends on t. An input expanded over T (one image at all steps) is
    computed once. Released code: equal, to 1e-6 in Spikformer's logits.
    """

    norm: Any  # BatchNorm2d, or Identity once folded

    def __init__(
        self, in_dim: int, dim: int, kernel_size: int = 1, stride: int = 1, *, groups: int = 1, bias: bool = False
    ):
        super().__init__()
        check_whole(in_dim=in_dim, dim=dim, kernel_size=kernel_size, stride=stride, groups=groups)
        if in_dim % groups or dim % groups:
            raise ValueError(
                f"in_dim {in_dim} and dim {dim} are not multiples of groups {groups}: give groups that divide both"
            )
        if stride == 1:
            check_odd(kernel_size)
        padding = max(kernel_size - stride + 1, 0) // 2
        self.conv = SpikeConv2d(in_dim, dim, kernel_size, stride, padding, groups=groups, bias=bias)
        self.norm = nn.BatchNorm2d(dim)

    def forward(self, x: Tensor) -> Tensor:
        steps = x.shape[0]
        if takes_once(self.norm, x):
            y = keep_layout(batch_norm(self.norm, self.conv(x[0])[None], repeats=steps))
            return y.expand(steps, *y.shape[1:])
        return batch_norm(self.norm, split_time(self.conv(merge_time(x)), steps))

    def folded(self) -> Self:
        """For inference, the convolution with the norm folded in, by its running statistics."""
        self.conv, self.norm = fuse_conv_bn_eval(self.conv, self.norm), nn.Identity()
        return self

    def extra_repr(self) -> str:
        size, stride = self.conv.kernel_size[0], self.conv.stride[0]
        return f"{self.conv.in_channels} -> {self.conv.out_channels}, {size} x {size}" + f", stride {stride}" * (
            stride > 1
        )


def check_odd(kernel_size: int) -> None:
    """Raises ValueError for an even kernel, which would change the map's size."""
    check_whole(kernel_size=kernel_size)
    if kernel_size % 2 == 0:
        raise ValueError(f"kernel_size {kernel_size} is even and would change the map's size: give an odd one")


def one_convolution(weight: Tensor, bias: Tensor) -> ConvNorm:
    """A folded `ConvNorm` from a weight `[C, C_in, k, k]` and a bias `[C]`."""
    dim, in_dim, kernel_size, _ = weight.shape
    with torch.device("meta"):  # draws no random numbers, which the caller may have use for
        part = ConvNorm(in_dim, dim, kernel_size, bias=True)
    part.conv.weight, part.conv.bias = nn.Parameter(weight, False), nn.Parameter(bias, False)
    part.norm = nn.Identity()
    return part.eval()


class PlainConv(ConvNorm):
    """ConvNorm without its norm and with a bias: `[T, B, C_in, H, W] spikes -> [T, B, C, H', W'] current`.

    The neck and heads of the released detectors use it. He initialisation keeps the size of the current.
    """

    def __init__(self, in_dim: int, dim: int, kernel_size: int = 1, stride: int = 1, *, bias: bool = True):
        super().__init__(in_dim, dim, kernel_size, stride, bias=bias)
        self.norm = nn.Identity()
        nn.init.kaiming_normal_(self.conv.weight, nonlinearity="relu")
        if self.conv.bias is not None:
            nn.init.zeros_(self.conv.bias)

    def folded(self) -> Self:
        """Itself: there is no norm."""
        return self


class PooledConvNorm(ConvNorm):
    """ConvNorm that max-pools instead of striding: `[T, B, C_in, H, W] spikes -> [T, B, C, H', W'] current`.

    With `stride` 2 a 3x3 max pool follows the norm and so pools current, not spikes: the CML order, Zhou et al.,
    arXiv:2305.05954.

    Raises ValueError for strides other than 1 and 2.
    """

    def __init__(self, in_dim: int, dim: int, kernel_size: int = 1, stride: int = 1, *, bias: bool = False):
        if stride not in (1, 2):
            raise ValueError(
                f"stride {stride} of a pooled convolution is not 1 or 2: give 1 to keep the size, 2 to halve it"
            )
        super().__init__(in_dim, dim, kernel_size, bias=bias)
        self.pool = MaxPool(3, 2, padding=1) if stride == 2 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return at_each_step(self.pool, super().forward(x))
