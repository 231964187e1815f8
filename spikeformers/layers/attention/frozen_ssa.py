"""Spiking self-attention with frozen queries and keys: the control."""

from typing import Unpack

from spikeformers.layers.attention.ssa import SSA, SSAArguments
from spikeformers.layers.contracts import MakeNeuron


class FrozenSSA(SSA):
    """SSA whose q and k keep their random weights: `[T, B, C, H, W] spikes -> [T, B, C, H, W] current`.

        q, k = neuron(ConvNorm(x)), whose weights, norms and neurons get no gradient; the rest is as in SSA

    Same cost as SSA. The control for any claim about attention: with frozen random q and k, independent runs on
    CIFAR-10 gave 94.96 % for Spikformer (95.12 % trained) and 96.48 % for SDT (95.66 % trained). The norms' running
    statistics still follow the data, and gradients still reach the stream. Released code: none. Arguments and errors:
    see `SSA`.
    """

    def __init__(self, dim: int, num_heads: int, neuron: MakeNeuron, **ssa: Unpack[SSAArguments]):
        super().__init__(dim, num_heads, neuron, **ssa)
        for part in (self.q, self.q_neuron, self.k, self.k_neuron):
            part.requires_grad_(False)
