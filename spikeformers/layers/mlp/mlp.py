"""The two-layer perceptron on tokens."""

from torch import Tensor, nn

from spikeformers.layers.contracts import MakeNeuron
from spikeformers.layers.conv import ConvNorm
from spikeformers.ops.arguments import check_whole


class MLP(nn.Module):
    """Two layers on every token with a neuron between: `fc2(neuron(fc1(x)))`, `[T, B, C, H, W]` in, current out.

    2 C hidden_dim additions per token. With a `kernel_size` above 1 the layers are convolutions. `bias` is that of
    both. Spikformer, Zhou et al., ICLR 2023, arXiv:2209.15425; its last neuron is in the shortcut here.
    """

    def __init__(self, dim: int, hidden_dim: int, neuron: MakeNeuron, *, kernel_size: int = 1, bias: bool = True):
        super().__init__()
        check_whole(dim=dim, hidden_dim=hidden_dim)
        self.fc1 = ConvNorm(dim, hidden_dim, kernel_size, bias=bias)
        self.neuron = neuron()
        self.fc2 = ConvNorm(hidden_dim, dim, kernel_size, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.neuron(self.fc1(x)))
