"""Attention of binary queries, non-negative keys and ternary values."""

from torch import Tensor, nn

from spikeformers.layers.attention.heads import check_heads, merge_heads, split_heads
from spikeformers.layers.contracts import MakeNeuron
from spikeformers.layers.conv import ConvNorm
from spikeformers.neurons.ternary_lif import TernaryLIF
from spikeformers.ops.spike_attention import spike_attention


class A2OS2A(nn.Module):
    """Addition-only attention with a binary, a real and a ternary operand: `[T, B, C, H, W] spikes -> current`.

        q = neuron(ConvNorm(x))                                0 or 1
        k = relu(ConvNorm(x))                                  real, >= 0
        v = v_neuron(ConvNorm(x))                              -1, 0 or 1, one membrane with two thresholds
        y = attn_neuron(q k^T v)                               no scale; the neuron's own threshold
        return ConvNorm(y)                                     current

    Each product has a binary or ternary operand, so it only adds; the real operand needs no neuron but is dense.
    min(2 N^2 C, 2 N C D) additions per step. Guo et al., CVPR 2025, arXiv:2503.00226. Reported: CIFAR-10 96.32,
    CIFAR-100 79.69 %, ImageNet-1k 78.66 % at 10-512. Released code: none.

    Raises ValueError if `dim` is not a multiple of `num_heads`.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        neuron: MakeNeuron,
        *,
        bias: bool = False,
        v_neuron: MakeNeuron = TernaryLIF,
    ):
        super().__init__()
        check_heads(dim, num_heads)
        self.num_heads = num_heads
        self.q, self.k, self.v = (ConvNorm(dim, dim, bias=bias) for _ in range(3))
        self.q_neuron, self.k_neuron = neuron(), nn.ReLU()
        self.v_neuron, self.attn_neuron = v_neuron(), neuron()
        self.proj = ConvNorm(dim, dim, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        q = split_heads(self.q_neuron(self.q(x)), self.num_heads)  # T B M N D
        k = split_heads(self.k_neuron(self.k(x)), self.num_heads)
        v = split_heads(self.v_neuron(self.v(x)), self.num_heads)
        y = merge_heads(spike_attention(q, k, v, 1.0), x)
        return self.proj(self.attn_neuron(y))

    def extra_repr(self) -> str:
        return f"num_heads={self.num_heads}"
