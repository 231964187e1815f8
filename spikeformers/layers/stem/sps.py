"""Spiking patch splitting."""

from collections.abc import Sequence
from math import prod

from torch import Tensor, nn

from spikeformers.layers.chain import Chain
from spikeformers.layers.contracts import COUNTS, SPIKES, MakeNeuron
from spikeformers.layers.conv import ConvNorm
from spikeformers.layers.pool import MaxPool
from spikeformers.layers.time import at_each_step
from spikeformers.ops.arguments import check_sizes, check_whole


class SPS(nn.Module):
    """Convolutions that split an image into spiking patches: `[T, B, C_in, H, W] -> [T, B, C, H / s, W / s] spikes`.

    One stage per stride, with widths doubling up to `dim`: 3x3 convolution, norm, neuron, then a max pool of the spikes
    if the stride is 2. A stage of width w costs 4.5 w^2 additions per pixel before its pool; the first costs 9 C_in w
    multiplications, as its input is the image. Spikformer, Zhou et al., ICLR 2023, arXiv:2209.15425, without its
    position convolution (`ConvPosition`). With two of the four convolutions, independent runs on CIFAR-10 fell from
    95.12 to 91.92 %. Released code: equal, to 1e-6 in Spikformer's logits.

    Raises ValueError for no strides, for strides other than 1 and 2, and for a `dim` that cannot be halved for each
    stage.
    """

    emits, takes = SPIKES, (SPIKES, COUNTS)

    def __init__(self, in_channels: int, dim: int, neuron: MakeNeuron, strides: Sequence[int] = (2, 2, 2, 2)):
        super().__init__()
        check_whole(in_channels=in_channels, dim=dim)
        check_sizes(strides=strides)
        if not strides:
            raise ValueError("a stem with strides () has no stage: give one stride, 1 or 2, for each")
        if dim % (multiple := 2 ** (len(strides) - 1)):
            near = dim - dim % multiple + multiple
            raise ValueError(f"dim {dim} is not a multiple of {multiple}, but widths double at each stage: try {near}")
        self.in_channels, self.stride = in_channels, prod(strides)
        widths = [in_channels, *(dim >> i for i in reversed(range(len(strides))))]
        stages = zip(widths[:-1], widths[1:], strides, strict=True)
        self.stages = Chain(*(_Stage(before, after, neuron, stride) for before, after, stride in stages))

    def forward(self, x: Tensor) -> Tensor:
        return self.stages(x)


class _Stage(nn.Module):
    def __init__(self, in_dim: int, dim: int, neuron: MakeNeuron, stride: int):
        super().__init__()
        if stride not in (1, 2):
            raise ValueError(f"stride {stride} of a stem stage is not 1 or 2: give 1 to keep the size, 2 to halve it")
        self.proj = ConvNorm(in_dim, dim, 3)
        self.neuron = neuron()
        self.pool = MaxPool(3, 2, padding=1) if stride == 2 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return at_each_step(self.pool, self.neuron(self.proj(x)))
