"""Products of spikes with weights that cost what their ones cost, each with its neuron after it, on a CPU.

Spikes and counts are bytes. A map `[T B, C, H, W]` lies with its channels last, so that a pixel's channels are one row.
Without the kernels, torch computes the same: `kernels()` is None.
`product.py` has what an engine is made of, `training.py` what training is.
"""

from spikeformers.ops.spike_product import reference
from spikeformers.ops.spike_product.build import kernels, without_kernels
from spikeformers.ops.spike_product.native import Window
from spikeformers.ops.spike_product.neuron import Neuron

__all__ = ["Neuron", "Window", "kernels", "reference", "without_kernels"]
