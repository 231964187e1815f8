"""Spiking neurons, one a file: modules `[T, ...] current -> [T, ...] spikes` that keep no state between calls.

A neuron declares `levels`, the values it can emit, and `causal`, whether an output at t depends on nothing after t.
Where a part asks for `neuron=`, it wants something to call for one, such as a class or `functools.partial(LIF, tau=4)`.
"""

from spikeformers.neurons.half_even import IntegerHalfEven
from spikeformers.neurons.half_up import IntegerHalfUp
from spikeformers.neurons.integrate_and_fire import IF
from spikeformers.neurons.lif import LIF
from spikeformers.neurons.plif import PLIF
from spikeformers.neurons.spikingjelly import SpikingJellyNeuron, from_spikingjelly

__all__ = ["IF", "LIF", "PLIF", "IntegerHalfEven", "IntegerHalfUp", "SpikingJellyNeuron", "from_spikingjelly"]
