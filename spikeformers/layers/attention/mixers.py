"""Token mixers without attention for the slot `attention`. They ignore `num_heads`."""

from collections.abc import Callable

from torch import Tensor, nn

from spikeformers.layers.contracts import CURRENT, MakeNeuron
from spikeformers.layers.conv import ConvNorm, check_odd
from spikeformers.layers.pool import MaxPool
from spikeformers.layers.time import at_each_step
from spikeformers.ops.arguments import check_whole


class DepthwiseMixer(nn.Module):
    """A depthwise convolution and norm: `[T, B, C, H, W] spikes -> [T, B, C, H, W] current`.

    kernel_size^2 N C additions per step; SSA costs 4 N C^2 and its products. The convolution always has a bias, and
    `bias` is ignored. Max-Former, Fang et al., NeurIPS 2025, arXiv:2505.18608, in early stages, with kernels 7, 5 and
    3. Reported for the whole model: CIFAR-100 82.65 %. Released code: equal, Max-Former's, to 1e-14.
    """

    def __init__(self, dim: int, num_heads: int, neuron: MakeNeuron, *, bias: bool = False, kernel_size: int = 3):
        super().__init__()
        check_whole(dim=dim, num_heads=num_heads)
        self.proj = ConvNorm(dim, dim, kernel_size, groups=dim, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x)


class IdentityMixer(nn.Module):
    """No mixing, the stream as it is: `[T, B, C, H, W] stream -> [T, B, C, H, W] stream`.

    The control for token mixing; it costs nothing. Max-Former's first CIFAR stage has no mixer, arXiv:2505.18608.
    Released code: equal, Max-Former's.
    """

    def __init__(self, dim: int, num_heads: int, neuron: MakeNeuron, *, bias: bool = False):
        super().__init__()
        check_whole(dim=dim, num_heads=num_heads)

    def in_block(self, behind: Callable[[nn.Module], nn.Module]) -> nn.Module:
        return self

    def forward(self, x: Tensor) -> Tensor:
        return x


class MaxPoolMixer(IdentityMixer):
    """The largest of neighbouring tokens in place of the stream: `[T, B, C, H, W] stream -> [T, B, C, H, W] stream`.

    It replaces the whole sub-block: no neuron, norm or shortcut. kernel_size^2 N C comparisons per step. Max-Former,
    Fang et al., NeurIPS 2025, arXiv:2505.18608. Reported on CIFAR-100, with membrane shortcuts: 79.12 %, against
    76.73 % with average pools. Released code: equal, Max-Former's.
    """

    def __init__(self, dim: int, num_heads: int, neuron: MakeNeuron, *, bias: bool = False, kernel_size: int = 3):
        super().__init__(dim, num_heads, neuron)
        check_odd(kernel_size)
        self.pool = MaxPool(kernel_size, 1, padding=kernel_size // 2)

    def forward(self, x: Tensor) -> Tensor:
        return at_each_step(self.pool, x)


class AvgPoolMixer(IdentityMixer):
    """The mean of neighbouring tokens in place of the stream: `[T, B, C, H, W] stream -> [T, B, C, H, W] current`.

    A low-pass filter without neuron, norm or shortcut: kernel_size^2 N C additions per step. Padding does not count in
    the mean. The control for `MaxPoolMixer`, from the same paper. Means of spikes are current, so the blocks after it
    need membrane shortcuts. Released code: equal, Max-Former's.
    """

    emits = CURRENT

    def __init__(self, dim: int, num_heads: int, neuron: MakeNeuron, *, bias: bool = False, kernel_size: int = 3):
        super().__init__(dim, num_heads, neuron)
        check_odd(kernel_size)
        self.pool = nn.AvgPool2d(kernel_size, 1, kernel_size // 2, count_include_pad=False)

    def forward(self, x: Tensor) -> Tensor:
        return at_each_step(self.pool, x)
