"""Convolutions that the levels of a pyramid share."""

from typing import Any

import torch
from torch import Tensor, nn

from spikeformers.layers.contracts import MakeConv, MakeNeuron
from spikeformers.layers.conv import ConvNorm
from spikeformers.layers.neuron_conv import NeuronConv
from spikeformers.layers.norm import batch_norm
from spikeformers.layers.time import merge_time, split_time


class SharedConv(NeuronConv):
    """A NeuronConv over all levels at once: `[[T, B, C, H_i, W_i], ...] -> [[T, B, D, H_i, W_i], ...]`.

    The norm sees the pixels of every level together, so its running statistics fit them all.
    """

    def forward(self, levels: list[Tensor]) -> list[Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        proj: Any = self.proj  # a ConvNorm, or one like it
        currents = [split_time(proj.conv(merge_time(self.neuron(x))), x.shape[0]) for x in levels]  # T B D H W
        flat = torch.cat([current.flatten(3) for current in currents], 3)[..., None]  # T B D N 1
        parts = batch_norm(proj.norm, flat)[..., 0].split([x.shape[-2] * x.shape[-1] for x in levels], 3)
        return [part.unflatten(3, x.shape[-2:]) for part, x in zip(parts, levels, strict=True)]


def shared_tower(dim: int, depth: int, neuron: MakeNeuron, conv: MakeConv = ConvNorm) -> nn.Sequential:
    """`depth` 3x3 SharedConvs: `[[T, B, D, H_i, W_i], ...] -> ` the same."""
    return nn.Sequential(*(SharedConv(dim, dim, 3, neuron, conv) for _ in range(depth)))
