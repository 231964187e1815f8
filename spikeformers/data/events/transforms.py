"""From the counts of a clip to the tensor a model takes; what is drawn at random is drawn once for all its frames."""

import difflib
import math
import random
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

# A change takes a clip [T, C, H, W] and its strength, and gives a clip of that shape; what it uncovers is 0.
Change = Callable[[Tensor, float], Tensor]

_LEVELS = 31  # of a strength, evenly from 0 to the largest, as TrivialAugment has them


def clip_transform(
    *, image_size: int, channels: int = 2, interpolation: str = "bilinear", **_: Any
) -> Callable[[Tensor], Tensor]:
    """Counts `[T, 2, H, W]` -> `[T, channels, image_size, image_size]` float32.

    Frames of another size are resized, with antialiasing unless by `nearest`. With 3 channels the third is the sum of
    both polarities. Raises ValueError for another number of channels, or an `interpolation` that does not exist.
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
    """As `clip_transform`, with a mirror image at probability `hflip` and then `clip_ops_drawn` different changes.

    `clip_ops` are the changes to draw from, by name, each with its largest strength; all are as likely. Raises
    ValueError for a change that does not exist, a strength below 0, or more drawn than there are.
    """
    _check(channels, interpolation)
    ops = dict(clip_ops or {})
    for name, strength in ops.items():
        if name not in CHANGES:
            close = difflib.get_close_matches(name, CHANGES) or CHANGES
            raise ValueError(f"augment.clip_ops: there is no change {name!r}; did you mean {', '.join(close)}?")
        if strength < 0:
            raise ValueError(
                f"augment.clip_ops.{name} {strength} is below 0: it is the largest strength, of either sign"
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
        raise ValueError(f"data.channels {channels} is neither 2, the polarities, nor 3, with their sum")
    if interpolation not in ("nearest", "bilinear", "bicubic"):
        raise ValueError(f"data.interpolation {interpolation!r} is none of nearest, bilinear, bicubic")


def _resized(clip: Tensor, size: int, interpolation: str) -> Tensor:
    if clip.shape[-2:] == (size, size):
        return clip
    smooth = {} if interpolation == "nearest" else {"antialias": True, "align_corners": False}
    return torch.nn.functional.interpolate(clip, (size, size), mode=interpolation, **smooth)


def _with_channels(clip: Tensor, channels: int) -> Tensor:
    return clip if channels == 2 else torch.cat([clip, clip.sum(1, keepdim=True)], 1)


def _drawn(largest: float) -> float:
    """One of 31 strengths from 0 to the largest, of either sign."""
    return random.choice((-1, 1)) * largest * random.randrange(_LEVELS) / (_LEVELS - 1)


def _affine(clip: Tensor, *, angle: float = 0.0, move: tuple[int, int] = (0, 0), shear: tuple[float, float] = (0, 0)):
    from torchvision.transforms.functional import affine

    # By the nearest pixel, so that counts stay counts; torchvision takes angles in degrees.
    return affine(clip, angle=angle, translate=list(move), scale=1.0, shear=[math.degrees(s) for s in shear])


def _roll(clip: Tensor, largest: float) -> Tensor:
    down, right = (random.randint(-int(largest), int(largest)) for _ in range(2))
    return clip.roll((down, right), (-2, -1))


def _blank(clip: Tensor, height: int, width: int, top: int, left: int) -> Tensor:
    """Without the events in a rectangle, of which any part outside is ignored."""
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
    "roll": _roll,  # pixels down and right, what leaves on one side enters on the other
    "rotate": lambda clip, largest: _affine(clip, angle=_drawn(largest)),  # degrees
    "shear_x": lambda clip, largest: _affine(clip, shear=(_drawn(largest), 0.0)),  # radians
    "shear_y": lambda clip, largest: _affine(clip, shear=(0.0, _drawn(largest))),
    "translate_x": lambda clip, largest: _affine(clip, move=(round(_drawn(largest)), 0)),  # pixels
    "translate_y": lambda clip, largest: _affine(clip, move=(0, round(_drawn(largest)))),
    "cutout": _cutout,  # share of the area that a square inside takes at most
    "cutout_side": _cutout_side,  # a rectangle of this share of each side, centred anywhere
}
