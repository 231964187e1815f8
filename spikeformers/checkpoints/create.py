"""Building a model by name, with weights or without."""

from typing import Any

from spikeformers.checkpoints.load import load_checkpoint
from spikeformers.models.network import SpikingTransformer
from spikeformers.models.registry import build


def create_model(name: str, pretrained: str | bool | None = None, **overrides: Any) -> SpikingTransformer:
    """Builds a model by name, with other numbers or parts where you say so.

        create_model("spikformer_8_512", num_classes=37, time_steps=8, neuron=PLIF)

    `name` is a registered size, a family (then its numbers are yours to give), or `file.py:builder` for one of your
    own. A part is a class, a name, or a mapping as in a settings file. `pretrained` is a path for `load_checkpoint`.

    Raises ValueError for an unknown name or argument, with the close ones, and for values that do not fit.
    """
    model = build(name, overrides)
    if pretrained is True:
        raise ValueError(f"{name} has no weights to download: give a file of them, pretrained=PATH")
    if pretrained is not None and pretrained is not False:
        load_checkpoint(model, pretrained)
    return model
