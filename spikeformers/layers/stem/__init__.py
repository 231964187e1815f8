"""From images or event frames to the first spikes or current: `[T, B, C_in, H, W] -> [T, B, C, H / s, W / s]`."""

from spikeformers.layers.stem.membrane_sps import MembraneSPS
from spikeformers.layers.stem.sps import SPS

__all__ = ["SPS", "MembraneSPS"]
