"""Patch embedding with a max pool on its shortcut."""

from collections.abc import Sequence

from spikeformers.layers.contracts import MakeNeuron
from spikeformers.layers.conv import PooledConvNorm
from spikeformers.layers.stem.membrane_speds import MembraneSPEDS


class EmbedMax(MembraneSPEDS):
    """MembraneSPEDS that pools, not strides, on its shortcut too: `[T, B, C_in, H, W] -> [T, B, C, H / s, W / s]
    current`.

        spikes = neuron(lead(x))
        return main(spikes) + max pool(norm(1x1 convolution(spikes)))

    The pools keep what is largest, and with it high frequencies. The 1x1 convolution runs ahead of its pool, so it
    costs 4 times its additions in `MembraneSPEDS`. Max-Former, Fang et al., NeurIPS 2025, arXiv:2505.18608, which has
    it between stages. Reported: part of CIFAR-100 81.15 to 82.65 % against QKFormer, where mixers and recipe changed
    too. Raises what `SPEDS` raises, and ValueError where the strides behind `lead` make more than 2.
    """

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
        super().__init__(in_channels, dim, neuron, strides, lead=lead, narrow=narrow, side_conv=PooledConvNorm)
