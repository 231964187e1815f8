"""Quantisers of weights: modules `[C, ...] weights -> [C, ...] weights of few levels`, made for one layer's weights."""

from spikeformers.layers.quantizer.full_precision import FullPrecision
from spikeformers.layers.quantizer.lsq import LSQ
from spikeformers.layers.quantizer.quantize import baked, quantize_weights, requantized

__all__ = ["LSQ", "FullPrecision", "baked", "quantize_weights", "requantized"]
