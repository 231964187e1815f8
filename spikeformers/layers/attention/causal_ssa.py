"""Spiking self-attention over the past."""

import torch
from torch import Tensor

from spikeformers.layers.attention.ssa import SSA


class CausalSSA(SSA):
    """SSA among the tokens of this step and all before it: `[T, B, C, H, W] spikes -> [T, B, C, H, W] current`.

        y[t] = attn_neuron(scale q[t] (mean over s <= t of k[s]^T v[s])), threshold 0.5

    The mean keeps the size of the current, whatever t. Without a softmax the past is one D by D matrix a head, a
    running sum, so that a step costs 2 N C D + C D additions however long the past is. Ours, for comparing with
    `STAtten`: it sees all of the past and nothing ahead, where that sees its chunk. Arguments and errors are those of
    `SSA`.
    """

    def attend(self, q: Tensor, k: Tensor, v: Tensor, height: int, width: int) -> Tensor:
        seen = (k.transpose(-2, -1) @ v).cumsum(0)  # T B M D D
        steps = torch.arange(1, len(q) + 1, device=q.device, dtype=q.dtype).view(-1, 1, 1, 1, 1)
        return q @ seen * (self.scale / steps)
