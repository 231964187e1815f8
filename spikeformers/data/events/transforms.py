"""Transforms from a clip's counts to a model's input. Random changes are the same for all frames of a clip."""

import difflib
import math
import random
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

# A change maps a clip [T, C, H, W] and a largest strength to a clip of the same shape. Uncovered pixels are 0.
Change = Callable[[Tensor, float], Tensor]

_LEVELS = 31  # strengths, evenly from 0 to the largest, as in TrivialAugment


def clip_transform(
    *, image_size: int, channels: int = 2, interpolation: str = "bilinear", **_: Any
) -> Callable[[Tensor], Tensor]:
    """Counts `[T, 2, H, W]` -> `[T, channels, image_size, image_size]` float32.

    Frames of another size are resized, with antialiasing except for `nearest`. With 3 channels the third is the sum of
    both polarities. Raises ValueError for another number of channels or an unknown `interpolation`.
    """
    _check(channels, interpolation)
    return lambda clip: _with_channels(_resized(clip, image_size, interpolation), channels)


def augmenting_clip_transform(
    *,
    image_size: int,
    channels: int = 2,
    interpolation: str = "bilinear",
    hflip: float = 0.0,
    clip_ops: Mapping[str, float] | None = None,
    clip_ops_drawn: int = 1,
    **_: Any,
) -> Callable[[Tensor], Tensor]:
    """Like `clip_transform`, with a flip at probability `hflip` and then `clip_ops_drawn` different random changes.

    `clip_ops` maps changes to their largest strengths. All changes are equally likely. Raises ValueError for an
    unknown change, a strength below 0, or more drawn than there are.
    """
    _check(channels, interpolation)
    ops = dict(clip_ops or {})
    for name, strength in ops.items():
        if name not in CHANGES:
            close = difflib.get_close_matches(name, CHANGES) or CHANGES
            raise ValueError(f"augment.clip_ops: there is no change {name!r}; did you mean {', '.join(close)}?")
        if strength < 0:
            raise ValueError(
                f"augment.clip_ops.{name} {strength} is below 0: give the largest strength, which gets a random sign"
            )
    if not 0 <= hflip <= 1:
        raise ValueError(f"hflip {hflip} is not a probability; use 0 <= hflip <= 1")
    if ops and not 1 <= clip_ops_drawn <= len(ops):
        raise ValueError(f"augment.clip_ops_drawn {clip_ops_drawn} is not between 1 and the {len(ops)} of clip_ops")

    def transform(clip: Tensor) -> Tensor:
        clip = _resized(clip, image_size, interpolation)
        if random.random() < hflip:
            clip = clip.flip(-1)
        for name in random.sample(list(ops), clip_ops_drawn) if ops else ():
            clip = CHANGES[name](clip, ops[name])
        return _with_channels(clip, channels)

    return transform


def _check(channels: int, interpolation: str) -> None:
    if channels not in (2, 3):
        raise ValueError(f"data.channels must be 2, the polarities, or 3, with their sum, not {channels}")
    if interpolation not in ("nearest", "bilinear", "bicubic"):
        raise ValueError(f"data.interpolation must be nearest, bilinear or bicubic, not {interpolation!r}")


def _resized(clip: Tensor, size: int, interpolation: str) -> Tensor:
    clip = clip.float()  # counts come in bytes, in which interpolation would round
    if clip.shape[-2:] == (size, size):
        return clip
    smooth = {} if interpolation == "nearest" else {"antialias": True, "align_corners": False}
    return torch.nn.functional.interpolate(clip, (size, size), mode=interpolation, **smooth)


def _with_channels(clip: Tensor, channels: int) -> Tensor:
    return clip if channels == 2 else torch.cat([clip, clip.sum(1, keepdim=True)], 1)


def _drawn(largest: float) -> float:
    """One of 31 strengths from 0 to the largest, with a random sign."""
    return random.choice((-1, 1)) * largest * random.randrange(_LEVELS) / (_LEVELS - 1)


def _affine(clip: Tensor, *, angle: float = 0.0, move: tuple[int, int] = (0, 0), shear: tuple[float, float] = (0, 0)):
    from torchvision.transforms.functional import affine

    # Nearest-pixel interpolation keeps counts integers; torchvision takes angles in degrees.
    return affine(clip, angle=angle, translate=list(move), scale=1.0, shear=[math.degrees(s) for s in shear])


def _roll(clip: Tensor, largest: float) -> Tensor:
    down, right = (random.randint(-int(largest), int(largest)) for _ in range(2))
    return clip.roll((down, right), (-2, -1))


def _blank(clip: Tensor, height: int, width: int, top: int, left: int) -> Tensor:
    """Removes the events in a rectangle, which may extend beyond the frame."""
    clip = clip.clone()
    clip[..., max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)] = 0
    return clip


def _cutout(clip: Tensor, largest: float) -> Tensor:
    height, width = clip.shape[-2:]
    side = round(math.sqrt(random.uniform(0, abs(_drawn(largest))) * height * width))
    side = min(side, height, width)
    return _blank(clip, side, side, random.randint(0, height - side), random.randint(0, width - side))


def _cutout_side(clip: Tensor, share: float) -> Tensor:
    height, width = clip.shape[-2:]
    down, right = int(share * height), int(share * width)
    return _blank(clip, down, right, random.randrange(height) - down // 2, random.randrange(width) - right // 2)


CHANGES: dict[str, Change] = {
    "identity": lambda clip, _: clip,
    "roll": _roll,  # pixels down and right, wrapping around
    "rotate": lambda clip, largest: _affine(clip, angle=_drawn(largest)),  # degrees
    "shear_x": lambda clip, largest: _affine(clip, shear=(_drawn(largest), 0.0)),  # radians
    "shear_y": lambda clip, largest: _affine(clip, shear=(0.0, _drawn(largest))),
    "translate_x": lambda clip, largest: _affine(clip, move=(round(_drawn(largest)), 0)),  # pixels
    "translate_y": lambda clip, largest: _affine(clip, move=(0, round(_drawn(largest)))),
    "cutout": _cutout,  # largest share of the area, of a square inside
    "cutout_side": _cutout_side,  # share of each side, of a rectangle centred anywhere
}
