"""Attention cores and other token mixers: `[T, B, C, H, W] spikes or counts -> [T, B, C, H, W] current`."""

from spikeformers.layers.attention.a2os2a import A2OS2A
from spikeformers.layers.attention.causal_ssa import CausalSSA
from spikeformers.layers.attention.dssa import DSSA
from spikeformers.layers.attention.fatm import FATM, PooledFATM
from spikeformers.layers.attention.frozen_ssa import FrozenSSA
from spikeformers.layers.attention.gray_xnor import GrayXNOR
from spikeformers.layers.attention.group_ssa import GroupSSA
from spikeformers.layers.attention.log_xnor import LogXNOR
from spikeformers.layers.attention.mixers import AvgPoolMixer, DepthwiseMixer, IdentityMixer, MaxPoolMixer
from spikeformers.layers.attention.mssa import MSSA, ChannelMSSA
from spikeformers.layers.attention.pruned_ssa import PrunedSSA
from spikeformers.layers.attention.qka import QKCA, QKTA
from spikeformers.layers.attention.sdsa import SDSA, PooledSDSA
from spikeformers.layers.attention.semm import SEMM
from spikeformers.layers.attention.ssa import SSA
from spikeformers.layers.attention.statten import STAtten
from spikeformers.layers.attention.tim import TIM
from spikeformers.layers.attention.time_mix_ssa import TimeMixSSA
from spikeformers.layers.attention.wide_ssa import WideSSA
from spikeformers.layers.attention.window_ssa import DilatedWindowSSA, WindowSSA
from spikeformers.layers.attention.xnor import XNORSSA

__all__ = [
    "A2OS2A",
    "DSSA",
    "FATM",
    "MSSA",
    "QKCA",
    "QKTA",
    "SDSA",
    "SEMM",
    "SSA",
    "TIM",
    "XNORSSA",
    "AvgPoolMixer",
    "CausalSSA",
    "ChannelMSSA",
    "DepthwiseMixer",
    "DilatedWindowSSA",
    "FrozenSSA",
    "GrayXNOR",
    "GroupSSA",
    "IdentityMixer",
    "LogXNOR",
    "MaxPoolMixer",
    "PooledFATM",
    "PooledSDSA",
    "PrunedSSA",
    "STAtten",
    "TimeMixSSA",
    "WideSSA",
    "WindowSSA",
]
