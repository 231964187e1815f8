"""The region proposal network's head."""

from torch import Tensor, nn

from spikeformers.layers.contracts import MakeConv, MakeNeuron
from spikeformers.layers.conv import ConvNorm
from spikeformers.layers.dense_head.shared_conv import SharedReadout, shared_tower


class RPNHead(nn.Module):
    """Objectness and deltas of A anchors per place, at each level, as torchvision's RPN takes them.

    `[[T, B, D, H_i, W_i], ...] -> [[B, A, H_i, W_i], ...], [[B, 4 A, H_i, W_i], ...]`, by a neuron, a 3x3 convolution,
    a neuron and a 1x1 convolution, which the levels share. Ren et al., NeurIPS 2015, arXiv:1506.01497.
    """

    def __init__(self, dim: int, anchors: int, neuron: MakeNeuron, conv: MakeConv = ConvNorm):
        super().__init__()
        self.anchors = anchors
        self.tower = shared_tower(dim, 1, neuron, conv)
        self.readout = SharedReadout(dim, 5 * anchors, 1, neuron)

    def forward(self, levels: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        both = self.readout(self.tower(levels))
        return [y[:, : self.anchors] for y in both], [y[:, self.anchors :] for y in both]
