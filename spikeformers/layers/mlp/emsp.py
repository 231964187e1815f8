"""The perceptron with gated halves."""

from torch import Tensor, nn

from spikeformers.layers.contracts import MakeNeuron
from spikeformers.layers.conv import ConvNorm
from spikeformers.ops.arguments import check_whole


class EMSP(nn.Module):
    """Experts mixture spiking perceptron: `[T, B, C, H, W] spikes or counts -> [T, B, C, H, W] current`.

        a, b = halves of neuron(fc1(x))                        0 or 1, hidden_dim / 2 channels each
        y = gate_neuron(depthwise(a)) * b                      0 or 1, a 3x3 convolution and norm gates b
        return fc2(y)                                          from hidden_dim / 2 channels

    Costs C hidden_dim + 4.5 hidden_dim + C hidden_dim / 2 additions per token, three quarters of `MLP`'s. SEMM, Zhou
    et al., NeurIPS 2024; the place of the neurons is ours. Reported with SEMM's attention: CIFAR-10 95.78, CIFAR-100
    79.04 %; independent runs: 94.98 and 77.59 %.

    Raises ValueError for an odd `hidden_dim`.
    """

    def __init__(self, dim: int, hidden_dim: int, neuron: MakeNeuron, *, bias: bool = True):
        super().__init__()
        check_whole(dim=dim, hidden_dim=hidden_dim)
        if hidden_dim % 2:
            raise ValueError(f"hidden_dim {hidden_dim} is odd, and one half gates the other: give an even one")
        half = hidden_dim // 2
        self.fc1, self.neuron = ConvNorm(dim, hidden_dim, bias=bias), neuron()
        self.depthwise, self.gate_neuron = ConvNorm(half, half, 3, groups=half), neuron()
        self.fc2 = ConvNorm(half, dim, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.neuron(self.fc1(x)).chunk(2, dim=2)
        return self.fc2(self.gate_neuron(self.depthwise(a)) * b)
