"""Necks: from the streams at the ends of a trunk's stages to a pyramid of maps of one width, each half the one before.

Called with a list of `[T, B, C, H / s, W / s]`, one per stage, a neck returns a list of `[T, B, D, H / p, W / p]`, one
for each stride `p` of `pyramid`.
"""

from spikeformers.layers.neck.fpn import FPN
from spikeformers.layers.neck.simple_pyramid import SimplePyramid

__all__ = ["FPN", "SimplePyramid"]
