"""The perceptron with an inner group-wise convolution."""

from torch import Tensor, nn

from spikeformers.layers.contracts import MakeNeuron
from spikeformers.layers.conv import ConvNorm
from spikeformers.layers.shortcut import MembraneShortcut
from spikeformers.ops.arguments import check_whole


class GWFFN(nn.Module):
    """Group-wise feed-forward network: `[T, B, C, H, W] spikes -> [T, B, C, H, W] current`.

        h = up(x)                                current, hidden_dim wide
        h = h + conv(neuron(h))                  3x3 in groups of `group_size` channels, with a membrane shortcut
        return down(neuron(h))

    Costs 2 C hidden_dim + 9 hidden_dim group_size additions per token. A layer narrower than `group_size` is one group.
    SpikingResformer, Shi et al., CVPR 2024, arXiv:2403.14302.

    Raises ValueError if `hidden_dim` is not a multiple of `group_size`.
    """

    def __init__(self, dim: int, hidden_dim: int, neuron: MakeNeuron, *, group_size: int = 64):
        super().__init__()
        check_whole(dim=dim, hidden_dim=hidden_dim, group_size=group_size)
        if hidden_dim % (group_size := min(group_size, hidden_dim)):
            raise ValueError(
                f"hidden_dim {hidden_dim} is not a multiple of group_size {group_size}: give a size that divides it"
            )
        self.up = ConvNorm(dim, hidden_dim)
        self.mix = MembraneShortcut(ConvNorm(hidden_dim, hidden_dim, 3, groups=hidden_dim // group_size), neuron)
        self.neuron = neuron()
        self.down = ConvNorm(hidden_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.neuron(self.mix(self.up(x))))
