"""Separable convolutions as a token mixer."""

from torch import Tensor, nn

from spikeformers.layers.contracts import MakeNeuron
from spikeformers.layers.conv import ConvNorm, SpikeConv2d, check_odd
from spikeformers.layers.time import merge_time, split_time
from spikeformers.ops.arguments import check_whole


class SepConv(nn.Module):
    """1x1, neuron, depthwise, 1x1: `fc2(depthwise(neuron(fc1(x))))`, `[T, B, C, H, W]` in, current out.

    The depthwise convolution, 7x7 by default, has neither norm nor neuron, so it and `fc2` are one convolution at
    inference. 2 C hidden_dim + kernel_size^2 hidden_dim operations per token; those of `fc2` are multiplications, since
    it sees current. Meta-SpikeFormer, Yao et al., ICLR 2024, arXiv:2404.03663.
    """

    def __init__(self, dim: int, hidden_dim: int, neuron: MakeNeuron, *, kernel_size: int = 7):
        super().__init__()
        check_whole(dim=dim, hidden_dim=hidden_dim)
        check_odd(kernel_size)
        self.fc1 = ConvNorm(dim, hidden_dim)
        self.neuron = neuron()
        self.depthwise = SpikeConv2d(
            hidden_dim, hidden_dim, kernel_size, padding=kernel_size // 2, groups=hidden_dim, bias=False
        )
        self.fc2 = ConvNorm(hidden_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        y = self.depthwise(merge_time(self.neuron(self.fc1(x))))
        return self.fc2(split_time(y, x.shape[0]))
