"""A convolution after a neuron: the unit of necks and of the heads of detectors and segmenters."""

import torch
from torch import Tensor, nn

from spikeformers.layers.contracts import CURRENT, MakeConv, MakeNeuron
from spikeformers.layers.conv import ConvNorm, SpikeConv2d
from spikeformers.layers.time import merge_time, split_time


class NeuronConv(nn.Module):
    """Neuron, then convolution: `[T, B, C_in, H, W] current -> [T, B, C, H / s, W / s] current`.

    `conv` makes the convolution: `ConvNorm`, or `PlainConv`, which has no norm. Sizes that `stride` does not divide are
    rounded up.
    """

    emits = CURRENT

    def __init__(
        self, in_dim: int, dim: int, kernel_size: int, neuron: MakeNeuron, conv: MakeConv = ConvNorm, *, stride: int = 1
    ):
        super().__init__()
        self.neuron = neuron()
        self.proj = conv(in_dim, dim, kernel_size, stride)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(self.neuron(x))


class NeuronUpConv(nn.Module):
    """Neuron, then a 2x2 transposed convolution of stride 2: `[T, B, C_in, H, W] -> [T, B, C, 2 H, 2 W] current`."""

    emits = CURRENT

    def __init__(self, in_dim: int, dim: int, neuron: MakeNeuron):
        super().__init__()
        self.neuron = neuron()
        self.proj = nn.ConvTranspose2d(in_dim, dim, 2, 2)
        nn.init.kaiming_normal_(self.proj.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        return split_time(self.proj(merge_time(self.neuron(x))), x.shape[0])


class Readout(nn.Module):
    """Neuron, convolution, mean over time: the last layer, `[T, B, C, H, W] current -> [B, K, H, W]`.

    Under autocast the output is float32 again: the corners of a box need more than eight bits. Weights start with
    standard deviation `std`, biases at `bias`.
    """

    def __init__(
        self, dim: int, outputs: int, kernel_size: int, neuron: MakeNeuron, *, std: float = 0.01, bias: float = 0.0
    ):
        super().__init__()
        self.neuron = neuron()
        self.conv = SpikeConv2d(dim, outputs, kernel_size, padding=kernel_size // 2)
        nn.init.normal_(self.conv.weight, std=std)
        nn.init.constant_(self.conv.bias, bias)  # pyright: ignore[reportArgumentType]

    def forward(self, x: Tensor) -> Tensor:
        return self.mean_of(self.neuron(x))

    def mean_of(self, spikes: Tensor) -> Tensor:
        y = split_time(self.conv(merge_time(spikes)), spikes.shape[0])
        return (y.float() if y.dtype in (torch.float16, torch.bfloat16) else y).mean(0)
