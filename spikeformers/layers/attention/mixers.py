"""Mixers of tokens that are no attention, in an attention's place. None has heads: `num_heads` changes nothing."""

from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from spikeformers.layers.contracts import MakeNeuron
from spikeformers.layers.conv import ConvNorm, check_odd
from spikeformers.layers.norm import batch_norm
from spikeformers.layers.pool import MaxPool
from spikeformers.layers.time import merge_time, split_time
from spikeformers.ops.arguments import check_whole


class DepthwiseMixer(nn.Module):
    """A depthwise convolution and norm: `[T, B, C, H, W] spikes -> [T, B, C, H, W] current`.

    Every channel mixes the `kernel_size`^2 tokens around each for itself: kernel_size^2 N C additions a step, where SSA
    has 4 N C^2 and its products. The convolution has a bias, and `bias` changes nothing. Max-Former, Fang et al.,
    NeurIPS 2025, arXiv:2505.18608, in early stages, of kernels 7, 5 and 3. Reported for the whole model: CIFAR-100
    82.65 %.
    """

    def __init__(self, dim: int, num_heads: int, neuron: MakeNeuron, *, bias: bool = False, kernel_size: int = 3):
        super().__init__()
        check_whole(dim=dim, num_heads=num_heads)
        self.proj = ConvNorm(dim, dim, kernel_size, groups=dim, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x)


class MaxPoolMixer(nn.Module):
    """The largest of the tokens around, and norm: `[T, B, C, H, W] spikes -> [T, B, C, H, W] current`.

    On spikes a max pool is an OR of `kernel_size`^2 bits, kernel_size^2 N C comparisons a step. Max-Former,
    Fang et al., NeurIPS 2025, arXiv:2505.18608, as we read it: that a norm makes current of what is pooled is ours.
    Reported on CIFAR-100: 79.12 % where average pools had 76.73 %.
    """

    def __init__(self, dim: int, num_heads: int, neuron: MakeNeuron, *, bias: bool = False, kernel_size: int = 3):
        super().__init__()
        check_whole(dim=dim, num_heads=num_heads)
        check_odd(kernel_size)
        self.pool, self.norm = MaxPool(kernel_size, 1, padding=kernel_size // 2), nn.BatchNorm2d(dim)

    def forward(self, x: Tensor) -> Tensor:
        return batch_norm(self.norm, split_time(self.pool(merge_time(x)), x.shape[0]))


class AvgPoolMixer(nn.Module):
    """The mean of the tokens around, and norm: `[T, B, C, H, W] spikes -> [T, B, C, H, W] current`.

    A low-pass filter, `kernel_size`^2 N C additions a step; what lies beyond the border is not counted. The control to
    `MaxPoolMixer`, with its paper, reading and figures.
    """

    def __init__(self, dim: int, num_heads: int, neuron: MakeNeuron, *, bias: bool = False, kernel_size: int = 3):
        super().__init__()
        check_whole(dim=dim, num_heads=num_heads)
        check_odd(kernel_size)
        self.kernel_size, self.norm = kernel_size, nn.BatchNorm2d(dim)

    def forward(self, x: Tensor) -> Tensor:
        size = self.kernel_size
        pooled = avg_pool2d(merge_time(x), size, 1, padding=size // 2, count_include_pad=False)
        return batch_norm(self.norm, split_time(pooled, x.shape[0]))


class IdentityMixer(nn.Module):
    """Every token for itself, a norm and nothing else: `[T, B, C, H, W] spikes -> [T, B, C, H, W] current`.

    The control that mixes nothing: at most N C additions a step, a spike adding its channel's scale. Max-Former's first
    stage on CIFAR has no mixer at all, arXiv:2505.18608; a part of a slot returns current, so ours is the norm that is
    left.
    """

    def __init__(self, dim: int, num_heads: int, neuron: MakeNeuron, *, bias: bool = False):
        super().__init__()
        check_whole(dim=dim, num_heads=num_heads)
        self.norm = nn.BatchNorm2d(dim)

    def forward(self, x: Tensor) -> Tensor:
        return batch_norm(self.norm, x)
