"""Query-key attention: queries mask keys."""

from torch import Tensor, nn

from spikeformers.layers.attention.heads import check_heads
from spikeformers.layers.contracts import MakeNeuron
from spikeformers.layers.conv import ConvNorm
from spikeformers.ops.arguments import check_whole


class QKTA(nn.Module):
    """Queries mask the tokens of the keys: `[T, B, C, H, W] spikes or counts -> [T, B, C, H, W] current`.

        q, k = neuron(ConvNorm(x))                                 0 or 1
        y = k * attn_neuron(sum over a head's channels of q)       0 or 1, a head's token kept or dropped; threshold 0.5
        return ConvNorm(y)                                         current

    2 N C additions and masks per step, linear in tokens and channels. `bias` is that of the q and k convolutions.
    QKFormer, Zhou et al., NeurIPS 2024, arXiv:2403.16552; its last neuron is in the shortcut here. Reported on
    CIFAR-100: 81.15 % in the early stages, 81.23 % with SSA in all. Released code: equal, to 1e-14.

    Raises ValueError if `dim` is not a multiple of `num_heads`.
    """

    def __init__(self, dim: int, num_heads: int, neuron: MakeNeuron, *, bias: bool = False):
        super().__init__()
        check_heads(dim, num_heads)
        self.num_heads = num_heads
        self.q, self.k = (ConvNorm(dim, dim, bias=bias) for _ in range(2))
        self.q_neuron, self.k_neuron = neuron(), neuron()
        self.attn_neuron = neuron(v_threshold=0.5)
        self.proj = ConvNorm(dim, dim, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        q = self.q_neuron(self.q(x)).unflatten(2, (self.num_heads, -1))  # T B M D H W
        k = self.k_neuron(self.k(x)).unflatten(2, (self.num_heads, -1))
        mask = self.attn_neuron(q.sum(3, keepdim=True))  # T B M 1 H W
        return self.proj((k * mask).flatten(2, 3))

    def extra_repr(self) -> str:
        return f"num_heads={self.num_heads}"


class QKCA(nn.Module):
    """Queries mask the channels of the keys: `[T, B, C, H, W] spikes or counts -> [T, B, C, H, W] current`.

        q, k = neuron(ConvNorm(x))                                 0 or 1
        y = k * attn_neuron(sum over tokens of q)                  0 or 1, a channel kept or dropped; threshold 0.5
        return ConvNorm(y)                                         current

    Same cost as `QKTA`. `num_heads` has no effect. QKFormer, arXiv:2403.16552. Released code: none.
    """

    def __init__(self, dim: int, num_heads: int, neuron: MakeNeuron, *, bias: bool = False):
        super().__init__()
        check_whole(dim=dim, num_heads=num_heads)
        self.q, self.k = (ConvNorm(dim, dim, bias=bias) for _ in range(2))
        self.q_neuron, self.k_neuron = neuron(), neuron()
        self.attn_neuron = neuron(v_threshold=0.5)
        self.proj = ConvNorm(dim, dim, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        q, k = self.q_neuron(self.q(x)), self.k_neuron(self.k(x))
        mask = self.attn_neuron(q.sum((-2, -1), keepdim=True))  # T B C 1 1
        return self.proj(k * mask)
