"""Transforms from a PIL image to a model's input tensor, built from timm and torchvision."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from .eval_image import INTERPOLATIONS, EvalImage, check_mode, check_name
from .named_steps import named
from .rand_augment import make_rand_augment


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
        image_size: Side of the result, in pixels.
        mean: One number per channel, of pixels in 0..1.
        std: One number per channel.
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

    drawn = make_rand_augment(
        rand_augment, rand_augment_ops, image_size=image_size, mean=mean, interpolation=interpolation
    )
    steps: list[Any] = [
        RandomResizedCropAndInterpolation(image_size, crop_scale, crop_ratio, interpolation),
        RandomHorizontalFlip(hflip),
        EvalImage(image_size, mean, std, interpolation).normalize,
        torch.from_numpy,
        RandomErasing(erase, mode=erase_mode, device="cpu"),
    ]
    if drawn is not None:
        steps.insert(2, drawn)
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
        image_size: Side of the result, in pixels.
        mean: One number per channel, of pixels in 0..1.
        std: One number per channel.
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
            made = named(transform, getattr(transform, "__name__", type(transform).__name__), made)
        return made
