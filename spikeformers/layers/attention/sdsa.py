"""Spike-driven self-attention."""

from torch import Tensor, nn

from spikeformers.layers.attention.heads import check_heads, merge_heads, split_heads
from spikeformers.layers.contracts import MakeNeuron
from spikeformers.layers.conv import ConvNorm
from spikeformers.layers.pool import MaxPool
from spikeformers.layers.time import at_each_step
from spikeformers.ops.arguments import check_whole


class SDSA(nn.Module):
    """Masks and sums instead of products: `[T, B, C, H, W] spikes -> [T, B, C, H, W] current`.

        q, k, v = neuron(ConvNorm(x))                              0 or 1
        y = q * attn_neuron(sum over tokens of k * v)              0 or 1, a channel of q kept or dropped; threshold 0.5
        return ConvNorm(y)                                         current

    3 N C additions and masks per step, linear in tokens and channels. `bias` is that of the q, k, v convolutions;
    `num_heads` has no effect. Yao et al., NeurIPS 2023, arXiv:2307.01694, SDSA-1. Released code: equal, to 1e-14.
    """

    def __init__(self, dim: int, num_heads: int, neuron: MakeNeuron, *, bias: bool = False):
        super().__init__()
        check_whole(dim=dim, num_heads=num_heads)
        self.q, self.k, self.v = (ConvNorm(dim, dim, bias=bias) for _ in range(3))
        self.q_neuron, self.k_neuron, self.v_neuron = neuron(), neuron(), neuron()
        self.attn_neuron = neuron(v_threshold=0.5)
        self.proj = ConvNorm(dim, dim, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.q_neuron(self.q(x)), self.k_neuron(self.k(x)), self.v_neuron(self.v(x))
        mask = self.attn_neuron((k * v).sum((-2, -1), keepdim=True))  # T B C 1 1
        return self.proj(q * mask)


class PooledSDSA(nn.Module):
    """SDSA with four 3x3 max pools of stride 1, as trained on CIFAR10-DVS: `[T, B, C, H, W]`, spikes to current.

    Costs the same as `SDSA` plus 9 comparisons per pool output. k and v are pooled over the image; `k * v` and the
    masked q over the plane of tokens and a head's channels, so `num_heads` has an effect. In the code of
    arXiv:2307.01694, not in the paper. Released code: equal, to 1e-6 in SDT's logits for events.

    Raises ValueError if `dim` is not a multiple of `num_heads`.
    """

    def __init__(self, dim: int, num_heads: int, neuron: MakeNeuron, *, bias: bool = False):
        super().__init__()
        check_heads(dim, num_heads)
        self.num_heads = num_heads
        self.q, self.k, self.v = (ConvNorm(dim, dim, bias=bias) for _ in range(3))
        self.q_neuron, self.k_neuron, self.v_neuron = neuron(), neuron(), neuron()
        self.attn_neuron = neuron(v_threshold=0.5)
        self.pool = MaxPool(3, 1, padding=1)
        self.proj = ConvNorm(dim, dim, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        q = split_heads(self.q_neuron(self.q(x)), self.num_heads)  # T B M N D
        k = split_heads(self._pooled(self.k_neuron(self.k(x))), self.num_heads)
        v = split_heads(self._pooled(self.v_neuron(self.v(x))), self.num_heads)
        mask = self.attn_neuron(self._pooled(k * v).sum(-2, keepdim=True))  # T B M 1 D
        return self.proj(merge_heads(self._pooled(q * mask), x))

    def _pooled(self, x: Tensor) -> Tensor:
        return at_each_step(self.pool, x)

    def extra_repr(self) -> str:
        return f"num_heads={self.num_heads}"
