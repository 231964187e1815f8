"""Channel mixers: `[T, B, C, H, W] spikes or counts -> [T, B, C, H, W] current`."""

from spikeformers.layers.mlp.mlp import MLP

__all__ = ["MLP"]
