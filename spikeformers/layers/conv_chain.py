"""The branch of a ResNet block."""

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from spikeformers.layers.contracts import MakeNeuron
from spikeformers.layers.conv import ConvNorm
from spikeformers.ops.arguments import check_sizes, check_whole


class ConvChain(nn.Sequential):
    """Convolutions with norms, and neurons between them: `[T, B, C_in, H, W] spikes -> [T, B, C, H', W'] current`.

    One convolution per kernel size; all but the last are `hidden_dim` wide. The first kernel above 1 gets the stride.
    Kernels (3, 3) make a basic block, (1, 3, 1) a bottleneck. He et al., CVPR 2016, arXiv:1512.03385.

    Raises ValueError if no kernel is wider than 1.
    """

    def __init__(
        self,
        in_dim: int,
        hidden_dim: int,
        dim: int,
        neuron: MakeNeuron,
        kernel_sizes: Sequence[int] = (3, 3),
        stride: int = 1,
    ):
        check_whole(in_dim=in_dim, hidden_dim=hidden_dim, dim=dim, stride=stride)
        check_sizes(kernel_sizes=kernel_sizes)
        wide = next((i for i, size in enumerate(kernel_sizes) if size > 1), None)
        if wide is None:
            raise ValueError(
                f"kernel_sizes {tuple(kernel_sizes)} are all 1 and see no neighbours: give at least one above 1"
            )
        widths = [in_dim, *[hidden_dim] * (len(kernel_sizes) - 1), dim]
        parts = OrderedDict()
        for i, size in enumerate(kernel_sizes):
            if i > 0:
                parts[f"neuron{i}"] = neuron()
            parts[f"conv{i + 1}"] = ConvNorm(widths[i], widths[i + 1], size, stride if i == wide else 1)
        super().__init__(parts)
