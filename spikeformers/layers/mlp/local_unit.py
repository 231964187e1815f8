"""The unit of depthwise convolutions that stands before local attention."""

from collections import OrderedDict
from collections.abc import Callable

from torch import Tensor, nn

from spikeformers.layers.contracts import MakeNeuron
from spikeformers.layers.conv import ConvNorm
from spikeformers.layers.mlp.spiking_sep_conv import SpikingSepConv
from spikeformers.ops.arguments import check_whole
from spikeformers.ops.notes import added


class LocalUnit(nn.Sequential):
    """A depthwise and a separable convolution with shortcuts, plus the stream: `[T, B, C, H, W] -> same shape`.

        y = x + neuron(near(x))                                with a SEW shortcut
        return x + y + neuron(far(y))

    `near` is depthwise with a norm, `far` a `SpikingSepConv`, and the stream is added twice. 2 C hidden_dim +
    kernel_size^2 (C + hidden_dim) additions per token. `neuron` and `drop_path` are the block's. SGLFormer, Zhang et
    al., Frontiers in Neuroscience 2024. Released code: equal, to 1e-6 in SGLFormer's logits.
    """

    def __init__(self, dim: int, hidden_dim: int, neuron: MakeNeuron, *, kernel_size: int = 3):
        check_whole(dim=dim, hidden_dim=hidden_dim)
        near = ConvNorm(dim, dim, kernel_size, groups=dim)
        far = SpikingSepConv(dim, hidden_dim, neuron, kernel_size=kernel_size)
        super().__init__(OrderedDict(near=near, far=far))

    def in_block(self, behind: Callable[[nn.Module], nn.Module]) -> nn.Module:
        for name, layer in list(self.named_children()):
            setattr(self, name, behind(layer))
        return self

    def forward(self, input: Tensor) -> Tensor:
        return added(input, super().forward(input))
