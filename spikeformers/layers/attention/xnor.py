"""Spiking self-attention by equal bits."""

import torch
from torch import Tensor

from spikeformers.layers.attention.ssa import SSA
from spikeformers.layers.binary import check_binary
from spikeformers.layers.contracts import MakeNeuron, MakeProjection
from spikeformers.layers.conv import ConvNorm
from spikeformers.ops.spike_attention import spike_attention


class XNORSSA(SSA):
    """SSA that counts bits which agree, both 1 or both 0: `[T, B, C, H, W] spikes -> [T, B, C, H, W] current`.

        y = attn_neuron(scale (q k^T + (1 - q)(1 - k)^T) v)        threshold 0.5

    The sum of products is one product of codes twice as long, [q, 1 - q] and [k, 1 - k], so it takes the cheaper order
    as SSA does, at twice its additions. An inverted bit of a silent neuron is a 1, so these operands are dense. The
    similarity of the relative position codes of Lv et al., NeurIPS 2025, arXiv:2501.16745, here without a code. `scale`
    is SSA's, as we read it. Arguments and errors are those of `SSA`, and ValueError for a neuron that is not binary.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        neuron: MakeNeuron,
        *,
        bias: bool = False,
        scale: float = 0.125,
        projection: MakeProjection = ConvNorm,
    ):
        super().__init__(dim, num_heads, neuron, bias=bias, scale=scale, projection=projection)
        check_binary(self, self.q_neuron)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, height: int, width: int) -> Tensor:
        return spike_attention(with_complement(q), with_complement(k), v, self.scale)


def with_complement(bits: Tensor) -> Tensor:
    """Bits and their complements, so that a product counts the ones that agree: `[..., D] -> [..., 2 D]`."""
    return torch.cat([bits, 1 - bits], dim=-1)
