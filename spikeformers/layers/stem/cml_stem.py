"""The stem of five convolutions that pools before the neuron."""

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from math import prod

from torch import Tensor, nn

from spikeformers.layers.chain import Chain
from spikeformers.layers.contracts import COUNTS, SPIKES, MakeNeuron
from spikeformers.layers.conv import PooledConvNorm
from spikeformers.ops.arguments import check_sizes, check_whole


class CMLStem(nn.Module):
    """CMLSPS that is as wide as `dim` one stage earlier: `[T, B, C_in, H, W] -> [T, B, C, H / s, W / s] spikes`.

        stage(x) = neuron(max pool(ConvNorm(x))), with a pool if the stride is 2

    With five strides the widths are C / narrow, C / 4, C / 2, C, C, rounded down. A stage from width v to w costs 9 v w
    additions per pixel before its pool; the first costs multiplications, as its input is the image. SGLFormer, Zhang et
    al., Frontiers in Neuroscience 2024. Released code: equal, to 1e-6 in SGLFormer's logits.

    Raises ValueError for no strides, for strides other than 1 and 2, and for a `dim` narrower than its first stage
    needs.
    """

    emits, takes = SPIKES, (SPIKES, COUNTS)

    def __init__(
        self,
        in_channels: int,
        dim: int,
        neuron: MakeNeuron,
        strides: Sequence[int] = (2, 2, 2, 2, 1),
        *,
        narrow: int = 8,
    ):
        super().__init__()
        check_whole(in_channels=in_channels, dim=dim, narrow=narrow)
        check_sizes(strides=strides)
        if not strides:
            raise ValueError("a stem with strides () has no stage: give one stride, 1 or 2, for each")
        if dim < (least := max(narrow, 2 ** max(0, len(strides) - 3))):
            raise ValueError(f"dim {dim} leaves no channel for the first stages: give {least} or more")
        later = [dim >> max(0, len(strides) - 2 - i) for i in range(1, len(strides))]
        widths = [in_channels, *([dim // narrow, *later] if later else [dim])]
        self.in_channels, self.stride = in_channels, prod(strides)
        stages = zip(pairwise(widths), strides, strict=True)
        self.stages = Chain(
            *(
                nn.Sequential(OrderedDict(proj=PooledConvNorm(before, after, 3, stride), neuron=neuron()))
                for (before, after), stride in stages
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.stages(x)
