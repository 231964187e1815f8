"""Build a model by name, with or without weights."""

from typing import Any

from spikeformers.checkpoints.load import load_checkpoint
from spikeformers.models.network import SpikingTransformer
from spikeformers.models.registry import build


def create_model(name: str, pretrained: str | bool | None = None, **overrides: Any) -> SpikingTransformer:
    """Builds a model by name.

        create_model("spikformer_8_512", num_classes=37, time_steps=8, neuron=PLIF)

    Args:
        name: A registered size, a family (whose required numbers are then overrides), or your own `file.py:builder`.
        pretrained: Path of the weights, for `load_checkpoint`. None or False keeps the initial weights.
        **overrides: Arguments of the builder. A part is a class, a name, or a mapping as in a settings file.

    Returns:
        The model, in training mode.

    Raises:
        ValueError: An unknown name or argument (with close matches), a value that does not fit, or
            `pretrained=True`: no weights are hosted.
    """
    model = build(name, overrides)
    if pretrained is True:
        raise ValueError(f"{name} has no weights to download: give a file of them, pretrained=PATH")
    if pretrained is not None and pretrained is not False:
        load_checkpoint(model, pretrained)
    return model
