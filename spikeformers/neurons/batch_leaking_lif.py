"""A slip of released code, kept for comparing with it."""

from torch import Tensor

from spikeformers.neurons.lif import LIF


class BatchLeakingLIF(LIF):
    """LIF that takes step after step of one sample after another: `[T, B, ...] current -> [T, B, ...] spikes`.

        spikes = LIF(x as [T B, ...]) as [T, B, ...]

    A sample finds the membrane that the one before it in the batch left, and its own from B samples ago. That breaks
    the contract of neurons: what comes out for a sample depends on the others in its batch and on their order, and
    with a batch of one it is `LIF`. The code released with QKFormer (arXiv:2403.16552) has it behind SSA:

        for b in (b for b in model.blocks if hasattr(b, "attn") and isinstance(b.attn.core, SSA)):
            b.attn.neuron = BatchLeakingLIF()

    Only for comparing with figures of that code. Raises what `LIF` raises.
    """

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(0, 1)).view_as(x)
