"""What evaluation does to an image, with Pillow and NumPy alone: neither torch nor torchvision is imported."""

import difflib
import math
from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image

INTERPOLATIONS = ("nearest", "bilinear", "bicubic")  # those with which Pillow both resizes and rotates


_MOST = 2**26  # pixels of a resized image, before it is cropped


class EvalImage:
    """Resizes, crops the centre and normalizes: a PIL image -> `[C, H, W]` float32, torchvision's to the last bit.

    Args:
        image_size: Pixels a side of the result.
        mean: One number per channel, of pixels in 0..1.
        std: One number per channel.
        interpolation: nearest, bilinear or bicubic.
        crop_pct: The shorter side is resized to image_size / crop_pct, rounded down, before the crop.

    Raises:
        ValueError: `interpolation` is unknown, or `crop_pct` outside 0 < crop_pct <= 1; in a call, the image's mode
            does not fit the number of channels.
    """

    def __init__(
        self,
        image_size: int,
        mean: Sequence[float],
        std: Sequence[float],
        interpolation: str = "bicubic",
        crop_pct: float = 1.0,
    ):
        check_name("interpolation", interpolation, INTERPOLATIONS)
        if not 0 < crop_pct <= 1:
            raise ValueError(f"crop_pct {crop_pct} is not a share of the side; use 0 < crop_pct <= 1")
        self.image_size, self.shorter_side = image_size, math.floor(image_size / crop_pct)
        self.resample = Image.Resampling[interpolation.upper()]
        self.mean, self.std = (np.asarray(numbers, np.float32).reshape(-1, 1, 1) for numbers in (mean, std))

    def __call__(self, image: Image.Image) -> np.ndarray:
        check_mode(image, len(self.mean))
        shorter = min(image.size)
        if not shorter or self.shorter_side**2 * max(image.size) > _MOST * shorter:
            raise ValueError(
                f"the image has {image.width} x {image.height} pixels, too thin for {self.shorter_side} on its shorter "
                "side: crop it first"
            )
        width, height = (
            self.shorter_side if side == shorter else int(self.shorter_side * side / shorter) for side in image.size
        )
        left, top = (round((side - self.image_size) / 2.0) for side in (width, height))
        image = image.resize((width, height), self.resample)
        image = image.crop((left, top, left + self.image_size, top + self.image_size))
        return self.normalize(image)

    def normalize(self, image: Image.Image) -> np.ndarray:
        """Pixels as they are, normalized."""
        pixels = np.asarray(image, np.float32).reshape(image.height, image.width, -1) / np.float32(255)
        return (np.ascontiguousarray(pixels.transpose(2, 0, 1)) - self.mean) / self.std


def check_mode(image: Image.Image, channels: int) -> None:
    """Raises ValueError for an image of another mode than the number of channels asks for."""
    mode = {1: "L", 3: "RGB"}.get(channels)
    if mode not in (None, image.mode):
        raise ValueError(f"an image has mode {image.mode} instead of {mode}: convert it first")


def check_name(what: str, name: str, known: Iterable[str]) -> None:
    """Raises ValueError for a name that is not known, with those that are close."""
    known = list(known)
    if name not in known:
        close = difflib.get_close_matches(name, known)
        remedy = f"did you mean {' or '.join(close)}?" if close else f"known are {', '.join(known)}"
        raise ValueError(f"{what} {name!r} is not known; {remedy}")
