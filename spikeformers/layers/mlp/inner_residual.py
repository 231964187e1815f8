"""The perceptron with an inner shortcut."""

from torch import Tensor, nn

from spikeformers.layers.contracts import MakeNeuron
from spikeformers.layers.conv import ConvNorm
from spikeformers.ops.arguments import check_whole


class InnerResidualMLP(nn.Module):
    """Two layers, each as wide as the stream and added to it: `[T, B, C, H, W] spikes -> [T, B, C, H, W] current`.

        h = fc1(x)
        return h + fc2(neuron(x + h))

    With a membrane shortcut the stream gets both. 2 C^2 additions per token, a quarter of an `MLP` of ratio 4. From
    Max-Former with ratio 1, Fang et al., NeurIPS 2025, arXiv:2505.18608. Its second neuron sees the stream; a core has
    only the stream's spikes, so ours sees those. `maxformer` follows the paper.

    Raises ValueError unless `hidden_dim` is `dim`.
    """

    def __init__(self, dim: int, hidden_dim: int, neuron: MakeNeuron, *, bias: bool = True):
        super().__init__()
        check_whole(dim=dim, hidden_dim=hidden_dim)
        if hidden_dim != dim:
            raise ValueError(
                f"hidden_dim {hidden_dim} is not dim {dim}, and the inner shortcut adds them: set mlp_ratio=1"
            )
        self.fc1, self.neuron = ConvNorm(dim, dim, bias=bias), neuron()
        self.fc2 = ConvNorm(dim, dim, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        h = self.fc1(x)
        return h + self.fc2(self.neuron(x + h))
