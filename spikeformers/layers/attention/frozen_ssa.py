"""Spiking self-attention with frozen queries and keys: the control."""

from typing import Unpack

from spikeformers.layers.attention.ssa import SSA, SSAArguments
from spikeformers.layers.contracts import MakeNeuron


class FrozenSSA(SSA):
    """SSA whose q and k keep their random weights: `[T, B, C, H, W] spikes -> [T, B, C, H, W] current`.

        q, k = neuron(ConvNorm(x)), weights, norms and neurons without a gradient;  the rest is SSA's

    Same cost as SSA. The control for any claim about attention: independent runs with frozen random q and k had
    Spikformer on CIFAR-10 at 94.96 against 95.12 %, SDT at 96.48 against 95.66 %. Running statistics of the norms still
    follow the data, and gradients still reach the stream. Arguments and errors: see
    `SSA`.
    """

    def __init__(self, dim: int, num_heads: int, neuron: MakeNeuron, **ssa: Unpack[SSAArguments]):
        super().__init__(dim, num_heads, neuron, **ssa)
        for part in (self.q, self.q_neuron, self.k, self.k_neuron):
            part.requires_grad_(False)
