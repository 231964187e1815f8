"""Spiking self-attention with recurrent queries."""

from typing import Unpack

import torch
from torch import Tensor, nn

from spikeformers.layers.attention.ssa import SSA, SSAArguments
from spikeformers.layers.contracts import MakeNeuron
from spikeformers.ops.arguments import check_finite
from spikeformers.ops.spike_attention import spike_attention


class TIM(SSA):
    """SSA with queries mixed from this step and the last: `[T, B, C, H, W] spikes -> current, same shape`.

        past[t] = past_neuron(convolution of q'[t - 1])            5 tokens in row-major order, one kernel per head
        channel q'[t] = mix_neuron(alpha past[t] + (1 - alpha) q[t])       q'[0] = q[0]; thresholds 0.3, 0.5 y =
        attn_neuron(scale q' k^T v), threshold 0.5

    5 N C additions per step more than SSA. Neurons have no state between calls, so each step reruns both neurons over
    the steps so far. Temporal interaction module, Shen et al., IJCAI 2024, arXiv:2401.11687. Its convolution has tokens
    as channels, which fixes the image size; ours has a kernel per channel and takes any size. Thresholds follow its
    code. Reported on CIFAR10-DVS: 78.9 to 81.6 % at T 10.

    Raises ValueError if `dim` is not a multiple of `num_heads`, and for an alpha outside [0, 1]. With T 1
    the convolution gets no gradient.
    """

    reruns = ("past_neuron", "mix_neuron")  # of their last call, all steps but one count

    def __init__(
        self, dim: int, num_heads: int, neuron: MakeNeuron, *, alpha: float = 0.5, **ssa: Unpack[SSAArguments]
    ):
        super().__init__(dim, num_heads, neuron, **ssa)
        check_finite(alpha=alpha)
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha {alpha} is not in [0, 1]: give the share of the past in a query")
        self.alpha, head_dim = alpha, dim // num_heads
        self.past = nn.Conv1d(head_dim, head_dim, 5, padding=2, groups=head_dim)
        self.past_neuron, self.mix_neuron = neuron(v_threshold=0.3), neuron(v_threshold=0.5)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, height: int, width: int) -> Tensor:
        return spike_attention(self.remembering(q), k, v, self.scale)

    def remembering(self, q: Tensor) -> Tensor:
        """Queries mixed with the past: `[T, B, M, N, D] spikes -> [T, B, M, N, D] spikes`."""
        ahead = torch.zeros_like(q)  # neurons get all T steps, since PSN needs them
        remembered, pasts, mixes = [q[0]], [], []
        for t in range(len(q) - 1):
            tokens_last = remembered[t].flatten(0, 1).transpose(-2, -1)  # B M, D, N
            pasts.append(self.past(tokens_last).transpose(-2, -1).view_as(q[0]))
            past = self.past_neuron(torch.cat([torch.stack(pasts), ahead[t + 1 :]]))[t]
            mixes.append(self.alpha * past + (1 - self.alpha) * q[t + 1])
            remembered.append(self.mix_neuron(torch.cat([torch.stack(mixes), ahead[t + 1 :]]))[t])
        return torch.stack(remembered)
