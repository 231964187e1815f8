"""Layers of neurons that are dead or saturated, with what usually helps."""

from collections.abc import Iterable, Iterator, Sequence

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
    """What usually helps layers that are (nearly) all silent, and those all saturated: a line each, naming them."""
    layers = [*activity]
    silent = [f"{layer.name} ({layer.silent:.0%})" for layer in layers if layer.silent >= MOSTLY]
    stuck = [f"{layer.name} ({layer.saturated:.0%})" for layer in layers if layer.silent < MOSTLY <= layer.saturated]
    if silent:
        yield f"{_layers(silent)} never fire: {', '.join(silent)}. What helps: {HELP_SILENT}."
    if stuck:
        does = "fire at every step, and tell nothing apart"
        yield f"{_layers(stuck)} {does}: {', '.join(stuck)}. What helps: {HELP_SATURATED}."


def _layers(named: Sequence[str]) -> str:
    return f"In {len(named)} layer{'s' * (len(named) > 1)} at least {MOSTLY:.0%} of the neurons"
