"""Convolutions that the levels of a pyramid share."""

from typing import Any

import torch
from torch import Tensor, nn

from spikeformers.layers.contracts import MakeConv, MakeNeuron
from spikeformers.layers.conv import ConvNorm
from spikeformers.layers.neuron_conv import NeuronConv, Readout
from spikeformers.layers.norm import batch_norm
from spikeformers.layers.time import merge_time, split_time
from spikeformers.ops.layout import channels_last, keep_layout
from spikeformers.ops.notes import carried


class SharedConv(NeuronConv):
    """A NeuronConv over all levels at once: `[[T, B, C, H_i, W_i], ...] -> [[T, B, D, H_i, W_i], ...]`.

    The neuron and the norm see the pixels of every level together, so the norm's running statistics fit them all.
    """

    def forward(self, levels: list[Tensor]) -> list[Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        proj: Any = self.proj  # a ConvNorm, or one like it
        currents = [split_time(proj.conv(merge_time(x)), x.shape[0]) for x in spikes_of(self.neuron, levels)]
        return apart(batch_norm(proj.norm, together(currents)), levels)


class SharedReadout(Readout):
    """A Readout over all levels at once: `[[T, B, C, H_i, W_i], ...] -> [[B, K, H_i, W_i], ...]`."""

    def forward(self, levels: list[Tensor]) -> list[Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return [self.mean_of(x) for x in spikes_of(self.neuron, levels)]


def shared_tower(dim: int, depth: int, neuron: MakeNeuron, conv: MakeConv = ConvNorm) -> nn.Sequential:
    """`depth` 3x3 SharedConvs: `[[T, B, D, H_i, W_i], ...] -> ` the same."""
    return nn.Sequential(*(SharedConv(dim, dim, 3, neuron, conv) for _ in range(depth)))


def spikes_of(neuron: nn.Module, levels: list[Tensor]) -> list[Tensor]:
    """What a neuron emits on each level, by one call."""
    return apart(neuron(together(levels)), levels)


def together(levels: list[Tensor]) -> Tensor:
    """The pixels of all levels in a row: `[[T, B, C, H_i, W_i], ...] -> [T, B, C, N, 1]`."""
    if all(map(channels_last, levels)):  # `cat` does not keep the layout of five axes
        return torch.cat([x.flatten(3).transpose(2, 3) for x in levels], 2).transpose(2, 3)[..., None]
    return torch.cat([x.flatten(3) for x in levels], 3)[..., None]


def apart(pixels: Tensor, like: list[Tensor]) -> list[Tensor]:
    """The inverse of `together`, for the sizes of `like`."""
    parts = keep_layout(pixels)[..., 0].split([x.shape[-2] * x.shape[-1] for x in like], 3)
    return [carried(pixels, part.unflatten(3, x.shape[-2:])) for part, x in zip(parts, like, strict=True)]
