"""Products of spikes with weights that cost what their ones cost, each with its neuron behind it, on a CPU.

Spikes and counts are bytes. A map `[T B, C, H, W]` lies with its channels last, so that a pixel's channels are one row.
Where the kernels cannot be had, torch computes the same: `kernels()` is None.
"""

from spikeformers.ops.spike_product import reference
from spikeformers.ops.spike_product.build import kernels
from spikeformers.ops.spike_product.native import Window
from spikeformers.ops.spike_product.neuron import Neuron
from spikeformers.ops.spike_product.product import SpikeProduct, attention, fire, max_pool

__all__ = ["Neuron", "SpikeProduct", "Window", "attention", "fire", "kernels", "max_pool", "reference"]
