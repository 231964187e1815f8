"""Spiking self-attention with wide values."""

from torch import Tensor, nn

from spikeformers.layers.attention.heads import check_heads, merge_heads, split_heads
from spikeformers.layers.contracts import MakeNeuron
from spikeformers.layers.conv import ConvNorm
from spikeformers.ops.arguments import check_whole
from spikeformers.ops.spike_attention import spike_attention


class WideSSA(nn.Module):
    """SSA with wider values than queries and keys: `[T, B, C, H, W] spikes -> [T, B, C, H, W] current`.

        q, k = neuron(ConvNorm(x))                             D channels per head
        v = neuron(ConvNorm(x))                                value_ratio D channels per head
        y = attn_neuron(2 / sqrt(D) q k^T v)                   the same threshold as the others
        return ConvNorm(y)                                     current

    min(N^2 (1 + r) C, 2 N r C D) additions per step, and (2 + 2 r) N C^2 in the projections, where r is `value_ratio`.
    `bias` is that of the q, k, v convolutions; the output projection has none. Spike-driven Transformer V3, Yao et al.,
    TPAMI 2025, arXiv:2411.16061, as released for its small sizes. Released code: equal, to 1e-6 in V3's logits.

    Raises ValueError if `dim` is not a multiple of `num_heads`.
    """

    def __init__(self, dim: int, num_heads: int, neuron: MakeNeuron, *, bias: bool = False, value_ratio: int = 4):
        super().__init__()
        check_heads(dim, num_heads)
        check_whole(value_ratio=value_ratio)
        self.num_heads, self.scale = num_heads, 2 * (dim // num_heads) ** -0.5
        value_dim = value_ratio * dim
        self.q, self.k = ConvNorm(dim, dim, bias=bias), ConvNorm(dim, dim, bias=bias)
        self.v = ConvNorm(dim, value_dim, bias=bias)
        self.q_neuron, self.k_neuron, self.v_neuron, self.attn_neuron = neuron(), neuron(), neuron(), neuron()
        self.proj = ConvNorm(value_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        q = split_heads(self.q_neuron(self.q(x)), self.num_heads)  # T B M N D
        k = split_heads(self.k_neuron(self.k(x)), self.num_heads)
        v = split_heads(self.v_neuron(self.v(x)), self.num_heads)
        y = merge_heads(spike_attention(q, k, v, self.scale), x)  # T B 4C H W
        return self.proj(self.attn_neuron(y))

    def extra_repr(self) -> str:
        return f"num_heads={self.num_heads}, scale={self.scale:.4g}"
