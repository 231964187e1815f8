"""Channel mixers: `[T, B, C, H, W] spikes or counts -> [T, B, C, H, W] current`."""

from spikeformers.layers.mlp.gwffn import GWFFN
from spikeformers.layers.mlp.mlp import MLP
from spikeformers.layers.mlp.sep_conv import SepConv
from spikeformers.layers.mlp.spiking_sep_conv import SpikingSepConv

__all__ = ["GWFFN", "MLP", "SepConv", "SpikingSepConv"]
