"""Spiking self-attention by equal bits."""

import math
from typing import Unpack

import torch
from torch import Tensor, nn

from spikeformers.layers.attention.ssa import SSA, ProjectionArguments
from spikeformers.layers.binary import check_binary
from spikeformers.layers.contracts import MakeNeuron


class XNORSSA(SSA):
    """SSA that counts bits which agree, both 1 or both 0: `[T, B, C, H, W] spikes -> [T, B, C, H, W] current`.

        agree = q k^T + (1 - q)(1 - k)^T
        y = attn_neuron(sigmoid(gain) (agree - min(agree)) v)      threshold 0.5; the least of a step, sample and head

    Most bits of sparse spikes agree, being 0, so that without the least taken away every token would get about the sum
    of all values, whatever q and k say. Codes twice as long, [q, 1 - q] and [k, 1 - k], make it one product; its scores
    are needed, so it costs 3 N^2 C additions a step, and an inverted bit of a silent neuron is a 1: these operands are
    dense. `gain` is learned, one number a layer, and begins where `scale` is its sigmoid. The similarity of the
    position codes of Lv et al., NeurIPS 2025, arXiv:2501.16745, here without a code; shift and gain are of its released
    code, which takes the least of the whole batch.

    Raises ValueError where `dim` is not a multiple of `num_heads`, for a scale outside (0, 1), and for a neuron that is
    not binary.
    """

    def __init__(
        self, dim: int, num_heads: int, neuron: MakeNeuron, *, scale: float = 0.119, **ssa: Unpack[ProjectionArguments]
    ):
        super().__init__(dim, num_heads, neuron, scale=scale, **ssa)
        if not 0 < scale < 1:
            raise ValueError(f"scale {scale} is not in (0, 1): it is the sigmoid that the learned gain begins with")
        check_binary(self, self.q_neuron)
        self.gain = nn.Parameter(torch.tensor(math.log(scale / (1 - scale))))

    def attend(self, q: Tensor, k: Tensor, v: Tensor, height: int, width: int) -> Tensor:
        agree = self.agreement(q, k, height, width)
        return (agree - agree.amin((-2, -1), keepdim=True)) @ v * self.gain.sigmoid()

    def agreement(self, q: Tensor, k: Tensor, height: int, width: int) -> Tensor:
        """How many bits agree of every two tokens: twice `[T, B, M, N, D] -> [T, B, M, N, N]`."""
        return with_complement(q) @ with_complement(k).transpose(-2, -1)


def with_complement(bits: Tensor) -> Tensor:
    """Bits and their complements, so that a product counts the ones that agree: `[..., D] -> [..., 2 D]`."""
    return torch.cat([bits, 1 - bits], dim=-1)
