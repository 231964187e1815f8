"""A check for parts that need binary spikes."""

from torch import nn


def check_binary(part: nn.Module, neuron: nn.Module) -> None:
    """Raises ValueError for a neuron that declares levels other than 0 and 1."""
    levels = getattr(neuron, "levels", (0.0, 1.0))
    if {*levels} != {0.0, 1.0}:
        name, kind = type(part).__name__, type(neuron).__name__
        raise ValueError(f"{name} takes spikes of 0 and 1, and {kind} has the levels {levels}: use a binary neuron")
