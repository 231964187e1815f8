"""Weights in a byte each, for small files: one scale an output channel."""

from collections.abc import Mapping

import torch
from torch import Tensor

_SCALE = ".int8_scale"


def pack(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rounds each weight of two dimensions or more to int8, with scales `[C_out]` beside it under another key.

    The largest weight of an output channel becomes 127 or -127. All else, such as norms, stays as it is.
    """
    packed = dict(weights)
    for key, weight in weights.items():
        if weight.ndim > 1 and weight.is_floating_point():
            scale = weight.float().flatten(1).abs().amax(1).clamp(min=1e-12) / 127
            packed[key] = (weight / _column(scale, weight)).round().to(torch.int8)
            packed[key + _SCALE] = scale
    return packed


def unpack(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a file, with those that were packed in float32."""
    scales = {key.removesuffix(_SCALE): value for key, value in weights.items() if key.endswith(_SCALE)}
    plain = {key: value for key, value in weights.items() if not key.endswith(_SCALE)}
    return {k: v.float() * _column(scales[k], v) if k in scales else v for k, v in plain.items()}


def _column(scale: Tensor, weight: Tensor) -> Tensor:
    return scale.view(-1, *[1] * (weight.ndim - 1))
