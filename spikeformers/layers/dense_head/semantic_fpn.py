"""Semantic FPN: a class for every pixel, from all levels of a pyramid."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.functional import interpolate

from spikeformers.layers.contracts import MakeConv, MakeNeuron
from spikeformers.layers.conv import ConvNorm
from spikeformers.layers.neuron_conv import NeuronConv, Readout
from spikeformers.layers.time import merge_time, split_time


class SemanticFPN(nn.Module):
    """From a pyramid to logits at its finest level: `[[T, B, D, H_i, W_i], ...] -> [B, K, H_0, W_0]`.

    A level is enlarged by 2, bilinearly, after each of its 3x3 convolutions, until it is as large as the finest, which
    has one. The sum of the levels goes through a 1x1 convolution to the classes. A neuron stands in front of each
    convolution; what is enlarged and summed is current. Kirillov et al., CVPR 2019, arXiv:1901.02446; spiking as in
    Spike-driven Transformer V3, arXiv:2411.16061.
    """

    def __init__(
        self,
        in_dim: int,
        dim: int,
        num_classes: int,
        pyramid: Sequence[int],
        neuron: MakeNeuron,
        conv: MakeConv = ConvNorm,
    ):
        super().__init__()
        self.num_classes = num_classes

        def branch(convs: int) -> nn.Sequential:
            return nn.Sequential(*(NeuronConv(dim if i else in_dim, dim, 3, neuron, conv) for i in range(convs)))

        self.finest = branch(1)
        self.coarser = nn.ModuleList(branch(number) for number in range(1, len(pyramid)))
        self.classes = Readout(dim, num_classes, 1, neuron)

    def forward(self, levels: list[Tensor]) -> Tensor:
        total = self.finest(levels[0])
        for number, branch in enumerate(self.coarser, 1):
            x = levels[number]
            for conv, like in zip(branch.children(), reversed(levels[:number]), strict=True):
                x = bilinear(conv(x), like)
            total = total + x
        return self.classes(total)


def bilinear(x: Tensor, like: Tensor) -> Tensor:
    """`x` at the size of `like`: `[T, B, C, h, w], [T, B, D, H, W] -> [T, B, C, H, W]`."""
    larger = interpolate(merge_time(x), size=like.shape[-2:], mode="bilinear", align_corners=False)
    return split_time(larger, x.shape[0])
