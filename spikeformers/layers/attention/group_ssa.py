"""Spiking self-attention in groups of channels."""

from functools import partial

from spikeformers.layers.attention.ssa import SSA
from spikeformers.layers.contracts import MakeNeuron
from spikeformers.layers.conv import ConvNorm
from spikeformers.ops.arguments import check_whole


class GroupSSA(SSA):
    """SSA whose q, k and v are projected in groups of channels: `[T, B, C, H, W] spikes -> [T, B, C, H, W] current`.

        q, k, v = neuron(ConvNorm(x)), in `groups` groups of C / groups channels; the rest is as in SSA

    The last projection sees all channels. The four projections cost (1 + 3 / groups) N C^2 additions per step, SSA's 4
    N C^2. After the group-wise attention of Ge2mS-T, arXiv:2604.08894. Released code: none.

    Raises ValueError if `dim` is not a multiple of `num_heads`, or `num_heads` of `groups`.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        neuron: MakeNeuron,
        *,
        bias: bool = False,
        groups: int = 2,
        scale: float = 0.125,
    ):
        check_whole(dim=dim, num_heads=num_heads, groups=groups)
        if num_heads % groups:
            raise ValueError(f"num_heads {num_heads} is not a multiple of groups {groups}: give groups that divide it")
        super().__init__(dim, num_heads, neuron, bias=bias, scale=scale, projection=partial(ConvNorm, groups=groups))
        self.proj = ConvNorm(dim, dim, bias=True)
