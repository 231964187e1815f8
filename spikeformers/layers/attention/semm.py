"""Attention by experts that a spiking router gates."""

from torch import Tensor, nn

from spikeformers.layers.attention.heads import merge_heads, split_heads
from spikeformers.layers.contracts import MakeNeuron
from spikeformers.layers.conv import ConvNorm
from spikeformers.ops.arguments import check_finite, check_whole
from spikeformers.ops.spike_attention import spike_attention


class SEMM(nn.Module):
    """Experts with their own queries and shared keys and values: `[T, B, C, H, W] spikes or counts -> current.`

        q_e, k = neuron(ConvNorm(x))                           0 or 1, C / experts channels each
        v = neuron(ConvNorm(x))                                0 or 1, C channels
        route = router_neuron(ConvNorm(x))                     0 or 1, one per token and expert
        y_e = attn_neuron(scale q_e k^T v)                     0 or 1, the same threshold as the others
        return ConvNorm(sum over e of route_e y_e)             counts 0 to `experts`, then current

    Each token selects any number of experts at each step. Experts stand in for heads: `num_heads` has no effect. E
    experts cost min(N^2 C (1 + E), N C^2 (1 + 1 / E)) additions per step in the products, 2 E N C in masks and sum, and
    (3 + 1 / E) N C^2 + E N C in the projections. Spiking experts mixture mechanism, Zhou et al., NeurIPS 2024. Reported
    with `EMSP`: CIFAR-10 95.78, CIFAR-100 79.04, CIFAR10-DVS 82.32, ImageNet-1k 75.93 % at 8-512. Released code:
    differs, STEP's port mixes up the axes of the router's map, and STEP's accuracies were measured with it.

    Raises ValueError if `dim` is not a multiple of `experts`, and for fewer than one expert.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        neuron: MakeNeuron,
        *,
        bias: bool = False,
        experts: int = 4,
        scale: float = 0.125,
    ):
        super().__init__()
        check_whole(dim=dim, num_heads=num_heads)
        check_whole(why="give 1 or more", experts=experts)
        check_finite(scale=scale)
        if dim % experts:
            raise ValueError(f"dim {dim} is not a multiple of experts {experts}: give a number that divides it")
        self.num_heads, self.scale = experts, scale
        self.q = ConvNorm(dim, dim, bias=bias)  # grouped by expert
        self.k, self.v = ConvNorm(dim, dim // experts, bias=bias), ConvNorm(dim, dim, bias=bias)
        self.router, self.router_neuron = ConvNorm(dim, experts), neuron()
        self.q_neuron, self.k_neuron, self.v_neuron = neuron(), neuron(), neuron()
        self.attn_neuron = neuron()
        self.proj = ConvNorm(dim, dim, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        q = split_heads(self.q_neuron(self.q(x)), self.num_heads)  # T B E N C/E
        k, v = split_heads(self.k_neuron(self.k(x)), 1), split_heads(self.v_neuron(self.v(x)), 1)  # T B 1 N
        y = spike_attention(q, k, v, self.scale)  # T B E N C
        y = merge_heads(y, x).unflatten(2, (self.num_heads, -1))  # T B E C H W
        route = self.router_neuron(self.router(x))[:, :, :, None]  # T B E 1 H W
        return self.proj((route * self.attn_neuron(y)).sum(2))

    def extra_repr(self) -> str:
        return f"experts={self.num_heads}, scale={self.scale}"
