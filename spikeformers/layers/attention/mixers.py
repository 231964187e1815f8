"""Token mixers without attention for the slot `attention`. They ignore `num_heads`."""

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

    kernel_size^2 N C additions per step; SSA costs 4 N C^2 and its products. The convolution always has a bias, and
    `bias` is ignored. Max-Former, Fang et al., NeurIPS 2025, arXiv:2505.18608, in early stages, with kernels 7, 5 and
    3. Reported for the whole model: CIFAR-100 82.65 %.
    """

    def __init__(self, dim: int, num_heads: int, neuron: MakeNeuron, *, bias: bool = False, kernel_size: int = 3):
        super().__init__()
        check_whole(dim=dim, num_heads=num_heads)
        self.proj = ConvNorm(dim, dim, kernel_size, groups=dim, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x)


class MaxPoolMixer(nn.Module):
    """Max pool of neighbouring tokens, then norm: `[T, B, C, H, W] spikes -> [T, B, C, H, W] current`.

    On spikes a max pool is an OR of kernel_size^2 bits: kernel_size^2 N C comparisons per step. Max-Former, Fang et
    al., NeurIPS 2025, arXiv:2505.18608; the norm is ours. Reported on CIFAR-100: 79.12 %, against 76.73 % with average
    pools.
    """

    def __init__(self, dim: int, num_heads: int, neuron: MakeNeuron, *, bias: bool = False, kernel_size: int = 3):
        super().__init__()
        check_whole(dim=dim, num_heads=num_heads)
        check_odd(kernel_size)
        self.pool, self.norm = MaxPool(kernel_size, 1, padding=kernel_size // 2), nn.BatchNorm2d(dim)

    def forward(self, x: Tensor) -> Tensor:
        return batch_norm(self.norm, split_time(self.pool(merge_time(x)), x.shape[0]))


class AvgPoolMixer(nn.Module):
    """Average pool of neighbouring tokens, then norm: `[T, B, C, H, W] spikes -> [T, B, C, H, W] current`.

    A low-pass filter: kernel_size^2 N C additions per step; padding is not counted in the mean. The control for
    `MaxPoolMixer`, from the same paper.
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
    """Norm only, no mixing: `[T, B, C, H, W] spikes -> [T, B, C, H, W] current`.

    The control for token mixing: at most N C additions per step, one scale per spike. Max-Former's first CIFAR stage
    has no mixer, arXiv:2505.18608; here the norm remains because the slot requires current.
    """

    def __init__(self, dim: int, num_heads: int, neuron: MakeNeuron, *, bias: bool = False):
        super().__init__()
        check_whole(dim=dim, num_heads=num_heads)
        self.norm = nn.BatchNorm2d(dim)

    def forward(self, x: Tensor) -> Tensor:
        return batch_norm(self.norm, x)
