"""A pyramid from one map, for flat trunks."""

from collections.abc import Sequence

from torch import Tensor, nn

from spikeformers.layers.contracts import MakeConv, MakeNeuron
from spikeformers.layers.conv import ConvNorm
from spikeformers.layers.neck.fpn import check_pyramid
from spikeformers.layers.neuron_conv import NeuronConv, NeuronUpConv
from spikeformers.ops.arguments import check_whole


class SimplePyramid(nn.Module):
    """A pyramid of the last stage's map alone: `[..., [T, B, C, H, W]] -> [[T, B, D, H_j, W_j], ...]` of current.

    A finer level comes from one transposed convolution of stride 2 or more, a coarser one from a 3x3 convolution of
    stride 2 or more; at every level a 1x1 and a 3x3 convolution follow. A neuron stands in front of each convolution.
    For flat trunks, whose maps have one size. Li et al., "Exploring Plain Vision Transformer Backbones for Object
    Detection", ECCV 2022, arXiv:2203.16527, whose coarsest level is a max pool. Released code: none that spikes.

    Args:
        dims, strides: Of the stages; only the last counts.
        pyramid: Strides of the levels, each twice the one before.
        dim: Width of all levels.

    Raises:
        ValueError: `pyramid` does not double.
    """

    def __init__(
        self,
        dims: Sequence[int],
        strides: Sequence[int],
        pyramid: Sequence[int],
        dim: int,
        neuron: MakeNeuron,
        conv: MakeConv = ConvNorm,
    ):
        super().__init__()
        check_pyramid(pyramid)

        def level(goal: int) -> nn.Sequential:
            parts, width, stride = [], dims[-1], strides[-1]
            while stride > goal:
                check_whole(2, f"it cannot be halved to the {goal} of pyramid: give another pyramid", stride=stride)
                parts.append(NeuronUpConv(width, max(dim, width // 2), neuron))
                width, stride = max(dim, width // 2), stride // 2
            while stride < goal:
                parts.append(NeuronConv(width, dim, 3, neuron, conv, stride=2))
                width, stride = dim, stride * 2
            return nn.Sequential(*parts, NeuronConv(width, dim, 1, neuron, conv), NeuronConv(dim, dim, 3, neuron, conv))

        self.levels = nn.ModuleList(map(level, pyramid))

    def forward(self, streams: list[Tensor]) -> list[Tensor]:
        return [level(streams[-1]) for level in self.levels]
