"""What tells tokens where they are: `[T, B, C, H, W] spikes or counts -> [T, B, C, H, W] current`."""

from spikeformers.layers.position.conv import ConvPosition

__all__ = ["ConvPosition"]
