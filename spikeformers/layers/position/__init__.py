"""Position codes: `[T, B, C, H, W] spikes or counts -> [T, B, C, H, W] current`.

Position codes inside the similarity of q and k are attention parts: `GrayXNOR`, `LogXNOR`.
"""

from spikeformers.layers.position.conv import ConvPosition
from spikeformers.layers.position.cpg import CPGPosition
from spikeformers.layers.position.none import NoPosition

__all__ = ["CPGPosition", "ConvPosition", "NoPosition"]
