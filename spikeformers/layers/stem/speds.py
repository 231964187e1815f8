"""Spiking patch embedding with a deformed shortcut."""

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from math import prod

from torch import Tensor, nn

from spikeformers.layers.chain import Chain
from spikeformers.layers.contracts import COUNTS, SPIKES, MakeNeuron
from spikeformers.layers.conv import ConvNorm, PooledConvNorm
from spikeformers.ops.arguments import check_sizes, check_whole
from spikeformers.ops.notes import added


class SPEDS(nn.Module):
    """3x3 convolutions beside a strided 1x1 one: `[T, B, C_in, H, W] -> [T, B, C, H / s, W / s] counts of spikes`.

        x = lead(x)
        return main(x) + side_neuron(side(x))                  0, 1 or 2

    Each convolution is followed by a norm, a max pool of the current if its stride is 2, and a neuron. `side`, the
    deformed shortcut, strides instead of pooling. There is one 3x3 convolution per stride; the first `lead` come before
    the shortcut. All convolutions but the first see spikes or counts. 9 additions per pixel and pair of channels, and 1
    in the shortcut. Widths double from `dim / narrow` up to `dim`. With `lead=0, narrow=1` it downsamples between
    stages. QKFormer, Zhou et al., NeurIPS 2024, arXiv:2403.16552. Released code: equal, to 1e-6 in QKFormer's logits.

    Raises ValueError for a `lead` that leaves no convolution parallel to the shortcut, a `dim` that is not a multiple
    of `narrow`, and strides other than 1 and 2.
    """

    emits, takes = COUNTS, (SPIKES, COUNTS)

    def __init__(
        self,
        in_channels: int,
        dim: int,
        neuron: MakeNeuron,
        strides: Sequence[int] = (2, 2, 1),
        *,
        lead: int = 1,
        narrow: int = 2,
    ):
        super().__init__()
        widths = embedding_widths(in_channels, dim, strides, lead, narrow)
        self.in_channels, self.stride = in_channels, prod(strides)
        units = [
            _spiking(PooledConvNorm(before, after, 3, stride), neuron)
            for (before, after), stride in zip(pairwise(widths), strides, strict=True)
        ]
        self.lead, self.main = Chain(*units[:lead]), Chain(*units[lead:])
        self.side, self.side_neuron = ConvNorm(widths[lead], dim, stride=prod(strides[lead:])), neuron()

    def forward(self, x: Tensor) -> Tensor:
        x = self.lead(x)
        return added(self.main(x), self.side_neuron(self.side(x)))


def _spiking(proj: nn.Module, neuron: MakeNeuron) -> nn.Sequential:
    return nn.Sequential(OrderedDict(proj=proj, neuron=neuron()))


def embedding_widths(in_channels: int, dim: int, strides: Sequence[int], lead: int, narrow: int) -> list[int]:
    """Channels before and after every convolution: `[in_channels, dim / narrow, 2 dim / narrow, ..., dim]`.

    Raises ValueError for arguments that `SPEDS` does not allow.
    """
    check_whole(in_channels=in_channels, dim=dim, narrow=narrow)
    check_whole(0, lead=lead)
    check_sizes(strides=strides)
    if lead >= len(strides):
        raise ValueError(
            f"lead {lead} of strides {tuple(strides)} leaves no convolution parallel to the shortcut: "
            f"give 0 to {len(strides) - 1}, or more strides"
        )
    if dim % narrow:
        raise ValueError(
            f"dim {dim} is not a multiple of narrow {narrow}, and dim / narrow is the first width: give a multiple"
        )
    widths = [in_channels, *(min(dim, (dim // narrow) << i) for i in range(len(strides)))]
    if widths[-1] != dim:
        raise ValueError(f"{len(strides)} widths from dim {dim} / narrow {narrow} end at {widths[-1]}: halve narrow")
    return widths
