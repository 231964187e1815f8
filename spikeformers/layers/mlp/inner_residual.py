"""The perceptron whose first layer has a shortcut of its own."""

from torch import Tensor, nn

from spikeformers.layers.contracts import MakeNeuron
from spikeformers.layers.conv import ConvNorm
from spikeformers.ops.arguments import check_whole


class InnerResidualMLP(nn.Module):
    """Two layers as wide as the stream, each added to it: `[T, B, C, H, W] spikes -> [T, B, C, H, W] current`.

        h = fc1(x)
        return h + fc2(neuron(x + h))

    Behind a membrane shortcut the stream gets both. Costs 2 C^2 additions a token, a quarter of an `MLP` of ratio 4.
    Max-Former, Fang et al., NeurIPS 2025, arXiv:2505.18608, for its ratio 1, as we read it: its neuron sees the stream,
    which a core does not know, where ours sees the stream's spikes. `maxformer` itself has the former.

    Raises ValueError unless `hidden_dim` is `dim`.
    """

    def __init__(self, dim: int, hidden_dim: int, neuron: MakeNeuron, *, bias: bool = True):
        super().__init__()
        check_whole(dim=dim, hidden_dim=hidden_dim)
        if hidden_dim != dim:
            raise ValueError(f"hidden_dim {hidden_dim} is not dim {dim}, and the inner shortcut adds them: mlp_ratio=1")
        self.fc1, self.neuron = ConvNorm(dim, dim, bias=bias), neuron()
        self.fc2 = ConvNorm(dim, dim, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        h = self.fc1(x)
        return h + self.fc2(self.neuron(x + h))
