"""Patch embedding with a max-pooled shortcut."""

from collections.abc import Sequence

from spikeformers.layers.contracts import MakeNeuron
from spikeformers.layers.conv import PooledConvNorm
from spikeformers.layers.stem.membrane_speds import MembraneSPEDS


class EmbedMax(MembraneSPEDS):
    """MembraneSPEDS with a max-pooled shortcut: `[T, B, C_in, H, W] -> [T, B, C, H / s, W / s] current`.

        spikes = neuron(lead(x))
        return main(spikes) + max pool(norm(1x1 convolution(spikes)))

    Max pools keep high frequencies. The 1x1 convolution runs before its pool, so it costs 4 times as many additions as
    in `MembraneSPEDS`. Max-Former, Fang et al., NeurIPS 2025, arXiv:2505.18608, between stages. Reported: QKFormer to
    Max-Former on CIFAR-100, 81.15 to 82.65 %, of which this is one change; mixers and recipe differ too.

    Released code: equal, to 1e-14. Errors are those of `SPEDS`; also raises ValueError if the strides after `lead`
    multiply to more than 2.
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
