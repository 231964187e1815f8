"""Separable convolutions on spikes only."""

from torch import Tensor, nn

from spikeformers.layers.contracts import MakeNeuron
from spikeformers.layers.conv import ConvNorm
from spikeformers.ops.arguments import check_whole


class SpikingSepConv(nn.Module):
    """1x1, depthwise and 1x1, each with a norm, neurons between: `[T, B, C, H, W]` in, current out.

        fc2(depthwise_neuron(depthwise(neuron(fc1(x)))))

    Unlike in `SepConv`, the last layer sees spikes, so all 2 C hidden_dim + kernel_size^2 hidden_dim operations per
    token are additions. Spike-driven Transformer V3, Yao et al., TPAMI 2025, arXiv:2411.16061. Released code: equal, to
    1e-6 in V3's logits.
    """

    def __init__(self, dim: int, hidden_dim: int, neuron: MakeNeuron, *, kernel_size: int = 7):
        super().__init__()
        check_whole(dim=dim, hidden_dim=hidden_dim)
        self.fc1 = ConvNorm(dim, hidden_dim)
        self.neuron = neuron()
        self.depthwise = ConvNorm(hidden_dim, hidden_dim, kernel_size, groups=hidden_dim)
        self.depthwise_neuron = neuron()
        self.fc2 = ConvNorm(hidden_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.depthwise_neuron(self.depthwise(self.neuron(self.fc1(x)))))
