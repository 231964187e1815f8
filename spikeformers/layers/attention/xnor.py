"""Spiking self-attention by matching bits."""

import math
from typing import Unpack

import torch
from torch import Tensor, nn

from spikeformers.layers.attention.ssa import SSA, ProjectionArguments
from spikeformers.layers.binary import check_binary
from spikeformers.layers.contracts import MakeNeuron


class XNOR(SSA):
    """The base class of attention by matching bits: `scale (agree) v`, with a learned scale."""

    def __init__(
        self, dim: int, num_heads: int, neuron: MakeNeuron, *, scale: float, **ssa: Unpack[ProjectionArguments]
    ):
        super().__init__(dim, num_heads, neuron, scale=scale, **ssa)
        if not 0 < scale < 1:
            raise ValueError(f"scale {scale} is not in (0, 1): give the initial sigmoid of the gain")
        check_binary(self, self.q_neuron)
        self.gain = nn.Parameter(torch.tensor(math.log(scale / (1 - scale))))

    def attend(self, q: Tensor, k: Tensor, v: Tensor, height: int, width: int) -> Tensor:
        return self.agreement(q, k, height, width) @ v * self.gain.sigmoid()

    def agreement(self, q: Tensor, k: Tensor, height: int, width: int) -> Tensor:
        """The number of equal bits of every two tokens, from q and k: `[T, B, M, N, D] -> [T, B, M, N, N]`."""
        return with_complement(q) @ with_complement(k).transpose(-2, -1)


class XNORSSA(XNOR):
    """SSA that counts equal bits of q and k: `[T, B, C, H, W] spikes -> [T, B, C, H, W] current`.

        agree = q k^T + (1 - q)(1 - k)^T
        y = attn_neuron(sigmoid(gain) (agree - min(agree)) v)      threshold 0.5; min per step, sample and head

    Most bits of sparse spikes are equal zeros; without subtracting the minimum, every token would get about the sum of
    all values. The scores are needed explicitly, as one product of [q, 1 - q] and [k, 1 - k]: 3 N^2 C additions per
    step. The operands are dense, because a silent neuron's inverted bit is 1. `gain` is learned, one number per layer;
    `scale` is its initial sigmoid. This is the similarity that Lv et al. use in their position codes, NeurIPS 2025,
    arXiv:2501.16745, here without a position code. Released code: differs, it takes the minimum over the whole batch,
    so images affect each other.

    Raises ValueError if `dim` is not a multiple of `num_heads`, for a scale outside (0, 1), and for a neuron that is
    not binary.
    """

    def __init__(
        self, dim: int, num_heads: int, neuron: MakeNeuron, *, scale: float = 0.119, **ssa: Unpack[ProjectionArguments]
    ):
        super().__init__(dim, num_heads, neuron, scale=scale, **ssa)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, height: int, width: int) -> Tensor:
        agree = self.agreement(q, k, height, width)
        return (agree - agree.amin((-2, -1), keepdim=True)) @ v * self.gain.sigmoid()


def with_complement(bits: Tensor) -> Tensor:
    """Bits and their complements, whose product counts equal bits: `[..., D] -> [..., 2 D]`."""
    return torch.cat([bits, 1 - bits], dim=-1)
