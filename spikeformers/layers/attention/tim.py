"""Spiking self-attention whose queries remember."""

from typing import Unpack

import torch
from torch import Tensor, nn

from spikeformers.layers.attention.ssa import SSA, SSAArguments
from spikeformers.layers.contracts import MakeNeuron
from spikeformers.ops.arguments import check_finite
from spikeformers.ops.spike_attention import spike_attention


class TIM(SSA):
    """SSA with queries drawn from this step's and the last one's: `[T, B, C, H, W] spikes -> current, same shape`.

        past[t] = past_neuron(convolution of q'[t - 1])            5 tokens along rows, one kernel a channel of a head
        q'[t] = mix_neuron(alpha past[t] + (1 - alpha) q[t])       q'[0] = q[0]; thresholds 0.3, 0.5
        y = attn_neuron(scale q' k^T v), threshold 0.5

    Costs SSA's additions and 5 N C more a step. A neuron here keeps nothing between calls, so that a step runs the two
    neurons over the steps so far again. Temporal interaction module, Shen et al., IJCAI 2024, arXiv:2401.11687. Its
    convolution has the tokens as channels, which fixes the size of the image; ours has one kernel a channel and takes
    any; the thresholds are as we read its code. Reported on CIFAR10-DVS: 78.9 to 81.6 % at T 10.

    Raises ValueError where `dim` is not a multiple of `num_heads`, and for an alpha outside [0, 1]. At T 1 there is no
    past: its convolution gets no gradient.
    """

    reruns = ("past_neuron", "mix_neuron")  # the last call's steps but one are what flows

    def __init__(
        self, dim: int, num_heads: int, neuron: MakeNeuron, *, alpha: float = 0.5, **ssa: Unpack[SSAArguments]
    ):
        super().__init__(dim, num_heads, neuron, **ssa)
        check_finite(alpha=alpha)
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha {alpha} is not in [0, 1]: it is the share of the past in a query")
        self.alpha, head_dim = alpha, dim // num_heads
        self.past = nn.Conv1d(head_dim, head_dim, 5, padding=2, groups=head_dim)
        self.past_neuron, self.mix_neuron = neuron(v_threshold=0.3), neuron(v_threshold=0.5)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, height: int, width: int) -> Tensor:
        return spike_attention(self.remembering(q), k, v, self.scale)

    def remembering(self, q: Tensor) -> Tensor:
        """Queries that have seen the past: `[T, B, M, N, D] spikes -> [T, B, M, N, D] spikes`."""
        ahead = torch.zeros_like(q)  # a neuron gets T steps, whatever is known of them, as PSN asks
        remembered, pasts, mixes = [q[0]], [], []
        for t in range(len(q) - 1):
            tokens_last = remembered[t].flatten(0, 1).transpose(-2, -1)  # B M, D, N
            pasts.append(self.past(tokens_last).transpose(-2, -1).view_as(q[0]))
            past = self.past_neuron(torch.cat([torch.stack(pasts), ahead[t + 1 :]]))[t]
            mixes.append(self.alpha * past + (1 - self.alpha) * q[t + 1])
            remembered.append(self.mix_neuron(torch.cat([torch.stack(mixes), ahead[t + 1 :]]))[t])
        return torch.stack(remembered)
