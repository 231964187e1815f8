"""Build a model by name, with or without weights."""

from typing import Any

from spikeformers.checkpoints.load import load_checkpoint
from spikeformers.checkpoints.shipped import settings_of, shipped
from spikeformers.models.building import build
from spikeformers.models.network import SpikingTransformer


def create_model(name: str, pretrained: str | bool | None = None, **overrides: Any) -> SpikingTransformer:
    """Builds a model by name.

        create_model("spikformer_8_512", num_classes=37, time_steps=8, neuron=PLIF)

    Args:
        name: A registered size, a family (give its required numbers as overrides), a model whose weights come with the
            package (`spikeformers list` marks it), or your own `file.py:builder`.
        pretrained: True for the weights that come with the package, or the path of others, for `load_checkpoint`. None
            or False keeps the initial weights.
        **overrides: Arguments of the builder. A part is a class, a name, or a mapping as in a settings file. Every
            model also takes `quantizer`, for its weights, and `pruning`, for its tokens.

    Returns:
        The model, in training mode.

    Raises:
        ValueError: An unknown name or argument (with close matches), a value that does not fit, or
            `pretrained=True` for a name without weights.
    """
    own = shipped().get(name)
    if own:
        config = {**settings_of(own)["config"], **overrides}
        model = build(config.pop("name"), config)
    else:
        model = build(name, overrides)
    weights = own if pretrained is True else pretrained or None
    if pretrained is True and not own:
        named = f", or build {' or '.join(shipped())}, which has weights" if shipped() else ""
        raise ValueError(f"{name} comes without weights: give a weight file, pretrained=PATH{named}")
    return model if weights is None else load_checkpoint(model, weights)
