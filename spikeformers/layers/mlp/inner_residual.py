"""The perceptron with an inner shortcut."""

from collections import OrderedDict
from collections.abc import Callable

from torch import nn

from spikeformers.layers.contracts import MakeNeuron
from spikeformers.layers.conv import ConvNorm
from spikeformers.ops.arguments import check_whole


class InnerResidualMLP(nn.Sequential):
    """Two layers, each as wide as the stream and with a shortcut of its own: `[T, B, C, H, W] stream -> stream`.

        y = x + fc1(neuron(x))                                 with a membrane shortcut
        return y + fc2(neuron(y))

    2 C^2 additions per token, a quarter of an `MLP` of ratio 4. `neuron` and `drop_path` are the block's. From
    Max-Former with ratio 1, Fang et al., NeurIPS 2025, arXiv:2505.18608. Released code: equal, Max-Former's.

    Raises ValueError unless `hidden_dim` is `dim`.
    """

    def __init__(self, dim: int, hidden_dim: int, neuron: MakeNeuron, *, bias: bool = True):
        check_whole(dim=dim, hidden_dim=hidden_dim)
        if hidden_dim != dim:
            raise ValueError(
                f"hidden_dim {hidden_dim} is not dim {dim}, and the inner shortcut adds them: set mlp_ratio=1"
            )
        super().__init__(OrderedDict((name, ConvNorm(dim, dim, bias=bias)) for name in ("fc1", "fc2")))

    def in_block(self, behind: Callable[[nn.Module], nn.Module]) -> nn.Module:
        for name, layer in list(self.named_children()):
            setattr(self, name, behind(layer))
        return self
