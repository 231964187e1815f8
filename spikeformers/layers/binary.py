"""Parts that make sense for spikes of 0 and 1 only."""

from torch import nn


def check_binary(part: nn.Module, neuron: nn.Module) -> None:
    """Raises ValueError for a neuron of other levels than 0 and 1. One that declares none is taken at its word."""
    levels = getattr(neuron, "levels", (0.0, 1.0))
    if {*levels} != {0.0, 1.0}:
        name, kind = type(part).__name__, type(neuron).__name__
        raise ValueError(f"{name} takes spikes of 0 and 1, and {kind} has the levels {levels}: use a binary neuron")
