"""Which maps of a trunk a neck reads, and which it adds."""

from collections.abc import Sequence

from torch import nn

from spikeformers.layers.contracts import MakeConv, MakeNeck, MakeNeuron
from spikeformers.models.network import SpikingTransformer
from spikeformers.models.stages import Stage


def pyramid_on(
    trunk: SpikingTransformer,
    neck: MakeNeck,
    pyramid: Sequence[int] | None,
    usual: Sequence[int],
    dim: int,
    neuron: MakeNeuron,
    conv: MakeConv,
) -> tuple[nn.Module, tuple[int, ...], list[Stage]]:
    """A neck on a trunk, with the strides of its levels and the stages that it reads.

    Without a `pyramid` it has the `usual` strides, from the trunk's finest map on. They are for trunks of stride 16 or
    32; for those of small images, whose stride is less, they are less by the same factor.

    Raises ValueError if the pyramid lacks the stride of the trunk's last stage, and what the neck raises.
    """
    stages = list(trunk.stages)
    last = stages[-1].reduction
    shrunk = max(1, 16 // last)
    flat = len({stage.reduction for stage in stages}) == 1  # its neck makes finer maps
    finest = 1 if flat else stages[0].reduction
    pyramid = tuple(pyramid or (stride // shrunk for stride in usual if stride // shrunk >= finest))
    if last not in pyramid:
        raise ValueError(f"pyramid {pyramid} lacks {last}, the stride of the trunk's last stage: add it")
    taken = [stage for stage in stages if stage.reduction in pyramid]
    made = neck([s.dim for s in taken], [s.reduction for s in taken], pyramid, dim, neuron, conv)
    return made, pyramid, taken
