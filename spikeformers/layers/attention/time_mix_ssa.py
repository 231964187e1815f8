"""Spiking self-attention whose current is mixed over time."""

from typing import Unpack

import torch
from torch import Tensor, nn

from spikeformers.layers.attention.ssa import SSA, SSAArguments
from spikeformers.layers.contracts import MakeNeuron
from spikeformers.ops.arguments import check_whole
from spikeformers.ops.spike_attention import spike_attention
from spikeformers.ops.steps import by_sample, check_horizon


class TimeMixSSA(SSA):
    """SSA with a learned sum over past steps before its neuron: `[T, B, C, H, W] spikes -> [T, B, C, H, W] current`.

        y = attn_neuron(mix (scale q k^T v)), threshold 0.5        mix T by T, lower triangular, initially the identity

    SSA's additions, and T / 2 multiplications per channel, token and step. The saccadic neuron of SNN-ViT, Wang et al.,
    ICLR 2025, arXiv:2502.12677, without its firing-rate distributions of q and k. Released code: none.

    Raises ValueError if `dim` is not a multiple of `num_heads`, and, when called, for more steps than `time_steps`.
    """

    remembers, mixes = ("currents", "t"), "attend"

    def __init__(self, dim: int, num_heads: int, neuron: MakeNeuron, *, time_steps: int, **ssa: Unpack[SSAArguments]):
        super().__init__(dim, num_heads, neuron, **ssa)
        check_whole(time_steps=time_steps)
        self.mix = nn.Parameter(torch.eye(time_steps))

    def attend(self, q: Tensor, k: Tensor, v: Tensor, height: int, width: int) -> Tensor:
        steps = len(q)
        if steps > len(self.mix):
            raise ValueError(
                f"TimeMixSSA has weights for {len(self.mix)} steps and got {steps}: build it with time_steps={steps}"
            )
        mix = self.mix[:steps, :steps].tril()
        return (mix @ spike_attention(q, k, v, self.scale).flatten(1)).view_as(q)

    def initial(self, q: Tensor, k: Tensor, v: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
        currents = q.new_zeros(len(q), len(self.mix), *q.shape[1:])  # B T M N D
        return currents, q.new_zeros(len(q), dtype=torch.int64)

    def step(
        self, q: Tensor, k: Tensor, v: Tensor, height: int, width: int, currents: Tensor, t: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        check_horizon("TimeMixSSA", "weights", t, len(self.mix))
        now = torch.arange(len(self.mix), device=t.device) == t[:, None]  # B T
        current = spike_attention(q, k, v, self.scale)[:, None]
        currents = torch.where(by_sample(now, currents), current, currents)
        mixed = self.mix.tril()[t][:, None] @ currents.flatten(2)  # B 1 MND
        return mixed.view_as(q), currents, t + 1
