"""Spiking self-attention with recurrent queries."""

from typing import Any, Unpack

import torch
from torch import Tensor, nn

from spikeformers.layers.attention.ssa import SSA, SSAArguments
from spikeformers.layers.contracts import MakeNeuron, declared, step_of
from spikeformers.ops.arguments import check_finite
from spikeformers.ops.spike_attention import spike_attention
from spikeformers.ops.steps import by_sample, by_step


class TIM(SSA):
    """SSA whose queries are mixed with those of the step before: `[T, B, C, H, W] spikes -> current, same shape`.

        past[t] = past_neuron(convolution of q'[t - 1])            5 tokens in a row, one kernel per channel of a head
        q'[t] = mix_neuron(alpha past[t] + (1 - alpha) q[t])       q'[0] = q[0]; thresholds 0.3, 0.5
        y = attn_neuron(scale q' k^T v)                            threshold 0.5

    5 N C additions per step more than SSA. Any image size. Temporal interaction module, Shen et al., IJCAI 2024,
    arXiv:2401.11687. Released code: differs, both neurons run at threshold 1, so attention acts at step 0 only; the
    convolution treats tokens as channels and slides along 5 channels, which fixes the image size. The reported
    accuracies come from that code.

    Raises ValueError if `dim` is not a multiple of `num_heads`, for an alpha outside [0, 1], and for a neuron that
    looks ahead or has no `step`. With T = 1 the convolution gets no gradient.
    """

    mixes, drives = "remembering", ("past_neuron", "mix_neuron")
    past_neuron: Any
    mix_neuron: Any

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
        if not declared(self.mix_neuron, "causal") or step_of(self.mix_neuron) is None:
            raise ValueError(
                f"TIM runs its neurons one step at a time, and {type(self.mix_neuron).__name__} has no step: use "
                "another, such as LIF or SlidingPSN, or give yours remembers, initial and step"
            )

    def attend(self, q: Tensor, k: Tensor, v: Tensor, height: int, width: int) -> Tensor:
        return spike_attention(self.remembering(q), k, v, self.scale)

    def remembering(self, q: Tensor) -> Tensor:
        """Queries mixed with the past: `[T, B, M, N, D] spikes -> [T, B, M, N, D] spikes`."""
        remembered, memory = [q[0]], self._at_rest(q[0])
        for now in q[1:]:
            mixed, *memory = self._mixed(now, remembered[-1], *memory)
            remembered.append(mixed)
        return torch.stack(remembered)

    @property
    def remembers(self) -> tuple[str, ...]:
        """The last query, whether there was one, and what both neurons remember."""
        neurons = [(name, declared(getattr(self, name), "remembers")) for name in self.drives]
        return ("last", "begun", *(f"{name}.{kept}" for name, of_neuron in neurons for kept in of_neuron))

    def initial(self, q: Tensor) -> tuple[Tensor, ...]:
        return torch.zeros_like(q), q.new_zeros(len(q), dtype=torch.bool), *self._at_rest(q)

    def step(self, q: Tensor, last: Tensor, begun: Tensor, *memory: Tensor) -> tuple[Tensor, ...]:
        mixed, *after = self._mixed(q, last, *memory)
        after = [torch.where(by_sample(begun, new), new, old) for new, old in zip(after, memory, strict=True)]
        q = torch.where(by_sample(begun, q), mixed, q)  # the first query is unmixed
        return q, q, torch.ones_like(begun), *after

    def _at_rest(self, q: Tensor) -> tuple[Tensor, ...]:
        return *self.past_neuron.initial(q), *self.mix_neuron.initial(q)

    def _mixed(self, q: Tensor, last: Tensor, *memory: Tensor) -> tuple[Tensor, ...]:
        """A query `[B, M, N, D]` mixed with the last one, and what the neurons remember then."""
        first = len(declared(self.past_neuron, "remembers"))
        tokens_last = last.flatten(0, 1).transpose(-2, -1)  # B M, D, N
        current = self.past(tokens_last).transpose(-2, -1).view_as(q)
        past, *of_past = by_step(self.past_neuron, current, *memory[:first])
        mixed, *of_mix = by_step(self.mix_neuron, self.alpha * past + (1 - self.alpha) * q, *memory[first:])
        return mixed, *of_past, *of_mix
