"""The candidates for `cifar10_evening` as one builder: Max-Former's stages with SDT V3's neurons and attention.

spikeformers compare cifar10_evening --model candidates.py:candidate --swap design=A,B,C,D,E,F,G,H,I --data FOLDER
"""

from functools import partial
from typing import Any

from spikeformers.layers.attention import WideSSA
from spikeformers.layers.conv import ConvNorm
from spikeformers.layers.stem import MembraneSPEDS
from spikeformers.models import SpikingTransformer
from spikeformers.models.maxformer import maxformer
from spikeformers.neurons import IntegerHalfEven

_STRIDED = dict(
    stem=partial(MembraneSPEDS, conv=ConvNorm), downsampling=partial(MembraneSPEDS, lead=0, narrow=1, conv=ConvNorm)
)
_POOLED: dict[str, Any] = dict(stem=MembraneSPEDS)  # a convolution at full size, then a max pool
_FULL = _STRIDED | dict(strides=(1, 1))  # the first stage at full size, the last on 8 x 8
DESIGNS: dict[str, dict[str, Any]] = {
    "A": _POOLED,
    "B": _STRIDED,
    "C": _POOLED | dict(dims=(48, 96, 192)),
    "D": _POOLED | dict(depths=(1, 1, 1)),
    "E": _STRIDED | _POOLED,
    "F": _FULL | dict(dims=(32, 64, 160)),
    "G": _FULL | dict(dims=(32, 96, 192)),
    "H": _POOLED | dict(dims=(64, 256, 256), depths=(0, 0, 1)),
    "I": _POOLED | dict(depths=(0, 0, 2)),
}


def candidate(
    *, design: str = "A", in_channels: int = 3, num_classes: int = 10, image_size: int = 32
) -> SpikingTransformer:
    """Candidate A to I: `[B, C, H, W] -> [B, K]`."""
    sizes = dict(dims=(64, 128, 256), depths=(1, 1, 2), kernel_sizes=(3, 3), num_heads=8, mlp_ratio=2)
    sizes |= dict(strides=(2, 1), downsampling_strides=(2, 1))
    return maxformer(
        **sizes | DESIGNS[design], neuron=IntegerHalfEven, attention=partial(WideSSA, value_ratio=2), time_steps=1,
        in_channels=in_channels, num_classes=num_classes, image_size=image_size,
    )  # fmt: skip
