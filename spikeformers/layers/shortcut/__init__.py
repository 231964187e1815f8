"""Residual shortcuts. Every sub-block of every family is `shortcut(core, neuron)`.

A core takes spikes or counts and returns current; the shortcut owns the block's neuron.
"""

from spikeformers.layers.shortcut.membrane import MembraneShortcut
from spikeformers.layers.shortcut.none import NoShortcut
from spikeformers.layers.shortcut.sew import SEWShortcut
from spikeformers.layers.shortcut.sew_gates import SEWAndShortcut, SEWIandShortcut

__all__ = ["MembraneShortcut", "NoShortcut", "SEWAndShortcut", "SEWIandShortcut", "SEWShortcut"]
