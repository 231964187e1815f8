"""Attention cores: `[T, B, C, H, W] spikes or counts -> [T, B, C, H, W] current`."""

from spikeformers.layers.attention.dssa import DSSA
from spikeformers.layers.attention.qka import QKCA, QKTA
from spikeformers.layers.attention.sdsa import SDSA, PooledSDSA
from spikeformers.layers.attention.ssa import SSA
from spikeformers.layers.attention.wide_ssa import WideSSA

__all__ = ["DSSA", "QKCA", "QKTA", "SDSA", "SSA", "PooledSDSA", "WideSSA"]
