"""Attention cores: `[T, B, C, H, W] spikes or counts -> [T, B, C, H, W] current`."""

from spikeformers.layers.attention.sdsa import SDSA, PooledSDSA
from spikeformers.layers.attention.ssa import SSA

__all__ = ["SDSA", "SSA", "PooledSDSA"]
