"""Spiking self-attention that learns nothing about what to attend to: the control."""

from typing import Unpack

from spikeformers.layers.attention.ssa import SSA, SSAArguments
from spikeformers.layers.contracts import MakeNeuron


class FrozenSSA(SSA):
    """SSA whose q and k stay as they were drawn: `[T, B, C, H, W] spikes -> [T, B, C, H, W] current`.

        q, k = neuron(ConvNorm(x)), weights, norms and neurons without a gradient;  the rest is SSA's

    Costs what SSA costs. The control that every claim about attention must beat: independent runs with frozen random q
    and k had Spikformer on CIFAR-10 at 94.96 against 95.12 %, SDT at 96.48 against 95.66 %. The norms' running
    statistics still follow the data, and gradients still pass through to the stream. Arguments and errors are those of
    `SSA`.
    """

    def __init__(self, dim: int, num_heads: int, neuron: MakeNeuron, **ssa: Unpack[SSAArguments]):
        super().__init__(dim, num_heads, neuron, **ssa)
        for part in (self.q, self.q_neuron, self.k, self.k_neuron):
            part.requires_grad_(False)
