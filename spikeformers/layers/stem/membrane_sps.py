"""Spiking patch splitting for streams of current."""

from collections.abc import Sequence

from torch import Tensor, nn

from spikeformers.layers.contracts import COUNTS, CURRENT, SPIKES, MakeNeuron
from spikeformers.layers.stem.sps import SPS


class MembraneSPS(nn.Module):
    """SPS without its last neuron: `[T, B, C_in, H, W] -> [T, B, C, H / s, W / s] current`.

    Same cost as SPS. Spike-driven Transformer, Yao et al., NeurIPS 2023, arXiv:2307.01694. Errors are those of `SPS`.
    """

    emits, takes = CURRENT, (SPIKES, COUNTS)

    def __init__(self, in_channels: int, dim: int, neuron: MakeNeuron, strides: Sequence[int] = (2, 2, 2, 2)):
        super().__init__()
        sps = SPS(in_channels, dim, neuron, strides)
        sps.stages[-1].neuron = nn.Identity()
        self.in_channels, self.stride, self.stages = in_channels, sps.stride, sps.stages

    def forward(self, x: Tensor) -> Tensor:
        return self.stages(x)
