"""Transforms from a PIL image to a model's input tensor, built from timm and torchvision."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import torch
from PIL import Image, ImageOps
from torch import Tensor

from spikeformers.memory import is_shortage

from .eval_image import INTERPOLATIONS, EvalImage, check_mode, check_name

_RAND_AUGMENT = re.compile(r"rand(-(m\d+|n\d+|p(0(\.\d+)?|1)|mstd\d+(\.\d+)?|mmax\d+|inc[01]))*")


def train_transform(
    *,
    image_size: int,
    mean: Sequence[float],
    std: Sequence[float],
    interpolation: str = "bicubic",
    hflip: float = 0.5,
    crop_scale: tuple[float, float] = (1.0, 1.0),
    crop_ratio: tuple[float, float] = (1.0, 1.0),
    crop_padding: int = 0,
    rand_augment: str | None = None,
    rand_augment_ops: Sequence[str] = (),
    erase: float = 0.0,
    erase_mode: str = "const",
) -> Callable[[Image.Image], Tensor]:
    """The training transform: random resized crop, shift, flip, RandAugment, normalisation, random erasing.

    Args:
        image_size: Pixels a side of the result.
        mean: One number a channel, of pixels in 0..1.
        std: One number a channel.
        interpolation: nearest, bilinear or bicubic.
        hflip: Probability of a horizontal flip.
        crop_scale: Range of the crop's share of the area.
        crop_ratio: Range of the crop's width over its height; if no crop fits, the largest central one is taken.
        crop_padding: Pixels of black around the crop, of which a window of `image_size` is taken at random.
        rand_augment: timm's configuration string, such as `rand-m9-n1`; None for none.
        rand_augment_ops: Draw only these of its operations; empty draws all.
        erase: Probability of random erasing.
        erase_mode: const, rand or pixel.

    Returns:
        A function PIL image -> [C, H, W] float32.

    Raises:
        ValueError: A name, range or string is invalid.
    """
    from timm.data.random_erasing import RandomErasing
    from timm.data.transforms import RandomResizedCropAndInterpolation
    from torchvision.transforms import RandomCrop, RandomHorizontalFlip

    check_name("interpolation", interpolation, INTERPOLATIONS)
    check_name("erase_mode", erase_mode, ("const", "rand", "pixel"))
    for name, probability in (("hflip", hflip), ("erase", erase)):
        if not 0 <= probability <= 1:
            raise ValueError(f"{name} {probability} is not a probability; use 0 <= {name} <= 1")
    for name, (low, high) in (("crop_scale", crop_scale), ("crop_ratio", crop_ratio)):
        if not 0 < low <= high:
            raise ValueError(f"{name} {(low, high)} is not a range; use 0 < low <= high")
    if not 0 <= crop_padding < image_size:
        raise ValueError(
            f"crop_padding {crop_padding} is not in 0..{image_size - 1}: a window of {image_size} pixels could miss "
            "the image; give fewer"
        )
    if rand_augment_ops and rand_augment is None:
        raise ValueError("rand_augment_ops needs rand_augment; add one such as 'rand-m9-n1'")

    steps: list[Any] = [
        RandomResizedCropAndInterpolation(image_size, crop_scale, crop_ratio, interpolation),
        RandomHorizontalFlip(hflip),
        EvalImage(image_size, mean, std, interpolation).normalize,
        torch.from_numpy,
        RandomErasing(erase, mode=erase_mode, device="cpu"),
    ]
    if rand_augment is not None:
        steps.insert(2, _rand_augment(rand_augment, rand_augment_ops, image_size, mean, interpolation))
    if crop_padding:
        steps.insert(1, RandomCrop(image_size, crop_padding))
    return _Steps(steps, len(mean))


def eval_transform(
    *,
    image_size: int,
    mean: Sequence[float],
    std: Sequence[float],
    interpolation: str = "bicubic",
    crop_pct: float = 1.0,
) -> Callable[[Image.Image], Tensor]:
    """The evaluation transform: resize, centre crop, normalisation.

    Args:
        image_size: Pixels a side of the result.
        mean: One number a channel, of pixels in 0..1.
        std: One number a channel.
        interpolation: nearest, bilinear or bicubic.
        crop_pct: The shorter side is resized to image_size / crop_pct, rounded down, before the crop.

    Returns:
        A function PIL image -> [C, H, W] float32.

    Raises:
        ValueError: `interpolation` is unknown, or `crop_pct` outside 0 < crop_pct <= 1.
    """
    return _Steps([EvalImage(image_size, mean, std, interpolation, crop_pct), torch.from_numpy], len(mean))


class _Steps:
    """Transforms in sequence for images of one mode. Raises ValueError for other modes, and names a failing step."""

    def __init__(self, transforms: Sequence[Callable[[Any], Any]], channels: int):
        self.transforms = transforms
        self.channels = channels

    def __call__(self, image: Image.Image) -> Tensor:
        check_mode(image, self.channels)
        made: Any = image
        for transform in self.transforms:
            made = _named(transform, getattr(transform, "__name__", type(transform).__name__), made)
        return made


class _Op:
    """One of timm's operations, named in its errors."""

    def __init__(self, op: Any):
        self.op, self.name = op, op.name
        if self.name.startswith("Posterize"):
            op.aug_fn = _posterize

    def __call__(self, image: Image.Image) -> Image.Image:
        return _named(self.op, self.name, image)


class _FailedError(ValueError):
    """The message already names what failed."""


def _named(step: Callable[[Any], Any], name: str, image: Any) -> Any:
    try:
        return step(image)
    except _FailedError:
        raise
    except Exception as error:
        if is_shortage(error):  # which is no fault of the image
            raise
        raise _FailedError(f"{name} failed: {' '.join(str(error).split())}") from error


def _posterize(image: Image.Image, bits: int, **_: Any) -> Image.Image:
    """Keeps the upper `bits` of each channel. Zero bits give a black image, which Pillow refuses since 13."""
    if bits <= 0:
        return Image.new(image.mode, image.size)
    return image if bits >= 8 else ImageOps.posterize(image, bits)


def _rand_augment(config: str, names: Sequence[str], image_size: int, mean: Sequence[float], interpolation: str) -> Any:
    from timm.data.auto_augment import rand_augment_transform
    from timm.data.transforms import str_to_pil_interp

    if not _RAND_AUGMENT.fullmatch(config):  # timm ignores what it does not understand
        raise ValueError(f"rand_augment {config!r} is not of the form 'rand-m9-n2-p0.5-mstd0.5-mmax10-inc1'")
    augment = rand_augment_transform(
        config,
        {
            "translate_const": int(0.45 * image_size),
            "img_mean": tuple(round(255 * value) for value in mean),  # fills what a shear or rotation uncovers
            "interpolation": str_to_pil_interp(interpolation),
        },
    )
    for name in names:
        check_name(f"rand_augment_ops of {config!r}:", name, [op.name for op in augment.ops])
    if names:
        augment.ops = [op for op in augment.ops if op.name in names]
    augment.ops = [_Op(op) for op in augment.ops]
    return augment
