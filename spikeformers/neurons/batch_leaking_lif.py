"""A bug of released code, reproduced for comparison."""

from torch import Tensor

from spikeformers.neurons.lif import LIF


class BatchLeakingLIF(LIF):
    """LIF whose membrane leaks from sample to sample of a batch: `[T, B, ...] current -> [T, B, ...] spikes`.

        spikes = LIF(x as [T B, ...]) as [T, B, ...]

    A sample starts from the membrane of the sample before it. That breaks the contract of neurons: the output for a
    sample depends on the rest of its batch. In a batch of one it is `LIF`. QKFormer's released code (arXiv:2403.16552)
    has this bug in the neuron after SSA:

        for b in (b for b in model.blocks if hasattr(b, "attn") and isinstance(b.attn.core, SSA)):
            b.attn.neuron = BatchLeakingLIF()

    Use it only to reproduce that code's figures. Errors are those of `LIF`.
    """

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(0, 1)).view_as(x)
