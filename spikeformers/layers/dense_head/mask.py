"""Mask R-CNN's head for masks of regions."""

from torch import Tensor, nn
from torch.nn.functional import pad

from spikeformers.layers.contracts import MakeConv, MakeNeuron
from spikeformers.layers.conv import ConvNorm
from spikeformers.layers.dense_head.regions import OnRegions
from spikeformers.layers.neuron_conv import NeuronConv, NeuronUpConv, Readout


def mask_head(
    dim: int, num_classes: int, depth: int, neuron: MakeNeuron, conv: MakeConv = ConvNorm, size: int = 14
) -> OnRegions:
    """`depth` 3x3 convolutions, an up-convolution and the masks: `[T, R, D, 14, 14] -> [R, K, 28, 28]`."""
    convs = (NeuronConv(dim, dim, 3, neuron, conv) for _ in range(depth))
    masks = Readout(dim, num_classes, 1, neuron)
    return OnRegions(*convs, NeuronUpConv(dim, dim, neuron), masks, none=(num_classes, 2 * size, 2 * size))


class WithBackground(nn.Module):
    """Puts a mask for the background in front of the classes' masks: `[R, K, H, W] -> [R, K + 1, H, W]`."""

    def forward(self, x: Tensor) -> Tensor:
        return pad(x, (0, 0, 0, 0, 1, 0))
