"""Spiking self-attention over the past."""

import torch
from torch import Tensor

from spikeformers.layers.attention.ssa import SSA


class CausalSSA(SSA):
    """SSA over the tokens of this step and all earlier ones: `[T, B, C, H, W] spikes -> [T, B, C, H, W] current`.

        y[t] = attn_neuron(scale q[t] (mean over s <= t of k[s]^T v[s])), threshold 0.5

    The mean keeps the current's magnitude independent of t. Without a softmax the past is a running sum, one D by D
    matrix per head, so a step costs 2 N C D + C D additions at any t. Ours, for comparison with `STAtten`, which sees
    the steps of a chunk: this sees all past steps and no later one. Released code: none. Arguments and errors: see
    `SSA`.
    """

    remembers, mixes = ("past", "steps"), "attend"

    def attend(self, q: Tensor, k: Tensor, v: Tensor, height: int, width: int) -> Tensor:
        past = (k.transpose(-2, -1) @ v).cumsum(0)  # T B M D D
        steps = torch.arange(1, len(q) + 1, device=q.device, dtype=q.dtype).view(-1, 1, 1, 1, 1)
        return q @ past * (self.scale / steps)

    def initial(self, q: Tensor, k: Tensor, v: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
        return q.new_zeros(*q.shape[:-2], q.shape[-1], v.shape[-1]), q.new_zeros(len(q), 1, 1, 1)  # B M D D

    def step(
        self, q: Tensor, k: Tensor, v: Tensor, height: int, width: int, past: Tensor, steps: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        past, steps = past + k.transpose(-2, -1) @ v, steps + 1
        return q @ past * (self.scale / steps), past, steps
