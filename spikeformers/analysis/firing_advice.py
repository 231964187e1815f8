"""Layers of neurons that are dead or saturated, with what usually helps."""

from collections.abc import Iterable, Iterator

from spikeformers.analysis.neuron_activity import NeuronActivity

MOSTLY = 0.9  # the share of a layer's neurons that makes a layer of it
HELP_SILENT = (
    "lower the threshold or start the norm ahead with a larger weight; give the surrogate gradient a wider slope; warm "
    "the learning rate up; check that the input is normalised as in training"
)
HELP_SATURATED = (
    "raise the threshold; put a norm ahead of the neuron or check its running statistics; lower the learning rate; use "
    "weight decay"
)


def firing_advice(activity: Iterable[NeuronActivity]) -> Iterator[str]:
    """A line for each layer that is (nearly) all silent or all saturated, with what usually helps."""
    for layer in activity:
        if layer.silent >= MOSTLY:
            yield f"{layer.name}: {layer.silent:.0%} of {layer.neurons} neurons never fire. What helps: {HELP_SILENT}."
        elif layer.saturated >= MOSTLY:
            share = f"{layer.saturated:.0%} of {layer.neurons} neurons fire at every step"
            yield f"{layer.name}: {share}, and tell nothing apart. What helps: {HELP_SATURATED}."
