"""Spiking neurons, one per file: modules `[T, ...] current -> [T, ...] spikes` without state between calls.

A neuron declares `levels`, the values it can emit, and `causal`, whether its output at t is independent of later input.
An argument `neuron=` takes a callable that makes one: a class, or `functools.partial(LIF, tau=4)`.
"""

from spikeformers.neurons.clif import CLIF
from spikeformers.neurons.glif import GLIF
from spikeformers.neurons.half_even import IntegerHalfEven
from spikeformers.neurons.half_up import IntegerHalfUp
from spikeformers.neurons.ielif import IELIF
from spikeformers.neurons.ilif import ILIF
from spikeformers.neurons.integrate_and_fire import IF
from spikeformers.neurons.klif import KLIF
from spikeformers.neurons.lif import LIF
from spikeformers.neurons.nilif import NILIF
from spikeformers.neurons.plif import PLIF
from spikeformers.neurons.psn import PSN
from spikeformers.neurons.sliding_psn import SlidingPSN
from spikeformers.neurons.spikingjelly import SpikingJellyNeuron, from_spikingjelly
from spikeformers.neurons.ternary_if import TernaryIF
from spikeformers.neurons.ternary_lif import TernaryLIF

__all__ = [
    "CLIF",
    "GLIF",
    "IELIF",
    "IF",
    "ILIF",
    "KLIF",
    "LIF",
    "NILIF",
    "PLIF",
    "PSN",
    "IntegerHalfEven",
    "IntegerHalfUp",
    "SlidingPSN",
    "SpikingJellyNeuron",
    "TernaryIF",
    "TernaryLIF",
    "from_spikingjelly",
]
