"""Patch embedding with a deformed shortcut, for streams of current."""

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from math import prod

from torch import Tensor, nn

from spikeformers.layers.chain import Chain
from spikeformers.layers.contracts import COUNTS, CURRENT, SPIKES, MakeConv, MakeNeuron
from spikeformers.layers.conv import ConvNorm, PooledConvNorm
from spikeformers.layers.stem.speds import embedding_widths


class MembraneSPEDS(nn.Module):
    """SPEDS with neurons first, not last: `[T, B, C_in, H, W] -> [T, B, C, H / s, W / s] current`.

        spikes = neuron(lead(x))
        return main(spikes) + side(spikes)                     current

    Same cost as SPEDS. The first convolution of `lead` sees the image itself. `conv` makes the 3x3 convolutions and
    `side_conv` the 1x1 one: `PooledConvNorm` pools if its stride is 2, `ConvNorm` strides. Max-Former, Fang et
    al., NeurIPS 2025, arXiv:2505.18608, which pools on both sides between stages. Errors are those of
    `SPEDS`.
    """

    emits = CURRENT

    def __init__(
        self,
        in_channels: int,
        dim: int,
        neuron: MakeNeuron,
        strides: Sequence[int] = (2, 2, 1),
        *,
        lead: int = 1,
        narrow: int = 2,
        conv: MakeConv = PooledConvNorm,
        side_conv: MakeConv = ConvNorm,
    ):
        super().__init__()
        if lead:  # a convolution sees the input, without a neuron before it
            self.takes = (SPIKES, COUNTS)
        widths = embedding_widths(in_channels, dim, strides, lead, narrow)
        self.in_channels, self.stride = in_channels, prod(strides)
        convs = [
            conv(before, after, 3, stride) for (before, after), stride in zip(pairwise(widths), strides, strict=True)
        ]
        self.lead, self.neuron = _with_neurons_between(convs[:lead], neuron), neuron()
        self.main = _with_neurons_between(convs[lead:], neuron)
        self.side = side_conv(widths[lead], dim, 1, prod(strides[lead:]))

    def forward(self, x: Tensor) -> Tensor:
        spikes = self.neuron(self.lead(x))
        return self.main(spikes) + self.side(spikes)


def _with_neurons_between(convs: Sequence[nn.Module], neuron: MakeNeuron) -> Chain:
    units = (OrderedDict(neuron=neuron(), proj=conv) if i else OrderedDict(proj=conv) for i, conv in enumerate(convs))
    return Chain(*(nn.Sequential(unit) for unit in units))
