"""Advice on neuron layers that are silent or saturated."""

from collections.abc import Iterable, Iterator, Sequence

from spikeformers.analysis.neuron_activity import NeuronActivity

MOSTLY = 0.9  # share of a layer's neurons from which the layer gets advice
HELP_SILENT = (
    "lower the threshold or initialise the norm before it with a larger weight; widen the surrogate gradient; warm up "
    "the learning rate; check that the input is normalised as in training"
)
HELP_SATURATED = (
    "raise the threshold; put a norm before the neuron or check its running statistics; lower the learning rate; use "
    "weight decay"
)


def firing_advice(activity: Iterable[NeuronActivity]) -> Iterator[str]:
    """Advice on layers whose neurons are mostly silent or mostly saturated.

    Args:
        activity: the neuron layers of a profile.

    Returns:
        At most two lines, one for silent and one for saturated layers, with their names and the usual remedies.
    """
    layers = [*activity]
    silent = [f"{layer.name} ({layer.silent:.0%})" for layer in layers if layer.silent >= MOSTLY]
    stuck = [f"{layer.name} ({layer.saturated:.0%})" for layer in layers if layer.silent < MOSTLY <= layer.saturated]
    if silent:
        yield f"{_layers(silent)} never fire: {', '.join(silent)}. Usual remedies: {HELP_SILENT}."
    if stuck:
        yield (
            f"{_layers(stuck)} fire at every step and carry no information: {', '.join(stuck)}. Usual remedies: "
            f"{HELP_SATURATED}."
        )


def _layers(named: Sequence[str]) -> str:
    return f"In {len(named)} layer{'s' * (len(named) > 1)} at least {MOSTLY:.0%} of the neurons"
