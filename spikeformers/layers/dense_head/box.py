"""Mask R-CNN's head for classes and boxes of regions."""

from torch import Tensor, nn

from spikeformers.layers.contracts import MakeConv, MakeNeuron
from spikeformers.layers.conv import ConvNorm
from spikeformers.layers.dense_head.regions import OnRegions
from spikeformers.layers.neuron_conv import NeuronConv, Readout


def box_head(
    dim: int, hidden_dim: int, num_classes: int, neuron: MakeNeuron, conv: MakeConv = ConvNorm, size: int = 7
) -> OnRegions:
    """Two fully connected layers and the outputs, each after a neuron: `[T, R, D, 7, 7] -> [R, 5 (K + 1), 1, 1]`."""
    outputs = 5 * (num_classes + 1)
    return OnRegions(
        NeuronConv(dim, hidden_dim, size, neuron, conv, stride=size),
        NeuronConv(hidden_dim, hidden_dim, 1, neuron, conv),
        Readout(hidden_dim, outputs, 1, neuron),
        none=(outputs, 1, 1),
    )


class BoxPredictor(nn.Module):
    """What the box head reads out, `[R, 5 (K + 1), 1, 1]`, as torchvision takes it: `[R, K + 1]` and `[R, 4 (K + 1)]`.

    Class 0 is the background.
    """

    def __init__(self, num_classes: int):
        super().__init__()
        self.classes = num_classes + 1

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.flatten(1)[:, : self.classes], x.flatten(1)[:, self.classes :]
