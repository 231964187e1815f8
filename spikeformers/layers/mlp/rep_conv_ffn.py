"""The perceptron of foldable convolutions."""

from torch import Tensor, nn

from spikeformers.layers.contracts import MakeNeuron
from spikeformers.layers.projection.rep_conv import RepConv
from spikeformers.ops.arguments import check_whole


class RepConvFFN(nn.Module):
    """Two chains of convolutions with a neuron between: `fc2(neuron(fc1(x)))`, `[T, B, C, H, W]` in, current out.

    Each chain is a `RepConv`, which folds into one dense 3x3 convolution; together they see two neighbours on each
    side. 18 C hidden_dim additions per token at inference, nine times `MLP`'s, and 2 C hidden_dim + C^2 + hidden_dim^2
    + 9 (C + hidden_dim) in training. Meta-SpikeFormer, Yao et al., ICLR 2024, arXiv:2404.03663. The published sizes use
    dense 3x3 convolutions instead: `MLP` with `kernel_size` 3. Released code: equal, to 1e-14.
    """

    def __init__(self, dim: int, hidden_dim: int, neuron: MakeNeuron, *, bias: bool = False):
        super().__init__()
        check_whole(dim=dim, hidden_dim=hidden_dim)
        self.fc1, self.neuron = RepConv(dim, hidden_dim, bias=bias), neuron()
        self.fc2 = RepConv(hidden_dim, dim, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.neuron(self.fc1(x)))
