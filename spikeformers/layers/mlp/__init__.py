"""Channel mixers: `[T, B, C, H, W] spikes or counts -> [T, B, C, H, W] current`."""

from spikeformers.layers.mlp.emsp import EMSP
from spikeformers.layers.mlp.gwffn import GWFFN
from spikeformers.layers.mlp.inner_residual import InnerResidualMLP
from spikeformers.layers.mlp.local_unit import LocalUnit
from spikeformers.layers.mlp.mlp import MLP
from spikeformers.layers.mlp.rep_conv_ffn import RepConvFFN
from spikeformers.layers.mlp.sep_conv import SepConv
from spikeformers.layers.mlp.spiking_sep_conv import SpikingSepConv

__all__ = ["EMSP", "GWFFN", "MLP", "InnerResidualMLP", "LocalUnit", "RepConvFFN", "SepConv", "SpikingSepConv"]
