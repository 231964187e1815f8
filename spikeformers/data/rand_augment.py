"""timm's RandAugment by its configuration string."""

import re
from collections.abc import Sequence
from typing import Any

from PIL import Image, ImageOps

from .eval_image import check_name
from .named_steps import named

_CONFIG = re.compile(r"rand(-(m\d+|n\d+|p(0(\.\d+)?|1)|mstd\d+(\.\d+)?|mmax\d+|inc[01]))*")
_MOVING = ("Rotate", "Shear", "Translate")  # how the names begin of operations that move pixels


def make_rand_augment(
    config: str | None,
    names: Sequence[str] = (),
    *,
    image_size: int,
    mean: Sequence[float],
    interpolation: str,
    in_place: bool = False,
) -> Any:
    """A function PIL image -> PIL image that draws from timm's operations; None if `config` is None.

    Args:
        config: timm's configuration string, such as `rand-m9-n1`.
        names: Draw only these operations; empty draws all.
        image_size: Pixels a side, for shifts.
        mean: One number per channel, of pixels in 0..1; fills what a shear or rotation uncovers.
        interpolation: nearest, bilinear or bicubic.
        in_place: Draw only operations that move no pixel, such as changes of colour.

    Raises:
        ValueError: A string or name is unknown, `names` come without `config`, or one of them moves pixels `in_place`.
    """
    if config is None:
        if names:
            raise ValueError("rand_augment_ops needs rand_augment; add one such as 'rand-m9-n1'")
        return None
    if not _CONFIG.fullmatch(config):  # timm ignores what it does not understand
        raise ValueError(f"rand_augment {config!r} is not of the form 'rand-m9-n2-p0.5-mstd0.5-mmax10-inc1'")
    from timm.data.auto_augment import rand_augment_transform
    from timm.data.transforms import str_to_pil_interp

    augment: Any = rand_augment_transform(
        config,
        {
            "translate_const": int(0.45 * image_size),
            "img_mean": tuple(round(255 * value) for value in mean),
            "interpolation": str_to_pil_interp(interpolation),
        },
    )
    still = [op for op in augment.ops if not (in_place and op.name.startswith(_MOVING))]
    for name in names:
        check_name(f"rand_augment_ops of {config!r}:", name, [op.name for op in augment.ops])
        if name not in (drawn := [op.name for op in still]):
            raise ValueError(
                f"rand_augment_ops: {name} moves pixels, and boxes and masks would stay where they are; "
                f"use {', '.join(drawn)}"
            )
    augment.ops = [_Op(op) for op in still if not names or op.name in names]
    return augment


class _Op:
    """One of timm's operations, named in its errors."""

    def __init__(self, op: Any):
        self.op, self.name = op, op.name
        if self.name.startswith("Posterize"):
            op.aug_fn = _posterize

    def __call__(self, image: Image.Image) -> Image.Image:
        return named(self.op, self.name, image)


def _posterize(image: Image.Image, bits: int, **_: Any) -> Image.Image:
    """Keeps the upper `bits` of each channel. Zero bits give a black image, which Pillow refuses since 13."""
    if bits <= 0:
        return Image.new(image.mode, image.size)
    return image if bits >= 8 else ImageOps.posterize(image, bits)
