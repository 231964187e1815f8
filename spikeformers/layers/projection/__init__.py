"""Projections of attention, a linear layer and its norm or what replaces them: `[T, B, C, H, W] spikes -> current`."""

from spikeformers.layers.conv import ConvNorm
from spikeformers.layers.projection.rep_conv import RepConv
from spikeformers.layers.projection.rep_linear import RepLinear

__all__ = ["ConvNorm", "RepConv", "RepLinear"]
