"""Stems, from images or event frames to spikes or current: `[T, B, C_in, H, W] -> [T, B, C, H / s, W / s]`."""

from spikeformers.layers.stem.cml_sps import CMLSPS
from spikeformers.layers.stem.cml_stem import CMLStem
from spikeformers.layers.stem.embed_max import EmbedMax
from spikeformers.layers.stem.membrane_speds import MembraneSPEDS
from spikeformers.layers.stem.membrane_sps import MembraneSPS
from spikeformers.layers.stem.patches import Patches
from spikeformers.layers.stem.resnet import MembraneResNetStem, ResNetStem
from spikeformers.layers.stem.scs import SCS
from spikeformers.layers.stem.speds import SPEDS
from spikeformers.layers.stem.sps import SPS
from spikeformers.layers.stem.strided_conv import StridedConv

__all__ = [
    "CMLSPS", "SCS", "SPEDS", "SPS", "CMLStem", "EmbedMax", "MembraneResNetStem", "MembraneSPEDS", "MembraneSPS",
    "Patches", "ResNetStem", "StridedConv",
]  # fmt: skip
