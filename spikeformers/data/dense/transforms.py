"""Transforms of an image or frames together with boxes or a mask, by torchvision's `transforms.v2`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as F

from ..eval_image import INTERPOLATIONS, check_mode, check_name
from ..rand_augment import make_rand_augment
from .boxes import Boxes
from .labelled import VOID

Target = dict[str, Tensor] | Tensor
_LEAST = 2.0  # pixels that remain of each side of a box, or it is left out of training


class PairTransform:
    """An image or frames with a label -> ([C, H, W] or [T, C, H, W] float32, target), both of `image_size`.

    A label is `Boxes`, whose target has `boxes` [N, 4], `labels` [N], and `iscrowd` [N] in evaluation, with `masks`
    [N, H, W] if asked for; or classes `[H, W]`, whose target is int64 `[H, W]` with 255 for void. An image keeps its
    shape: it is resized to fit, and the rest is filled with the mean, with void or with nothing.

    Args:
        image_size: Height and width.
        mean: Of pixels in 0..1, one per channel; None for frames, which are not normalised.
        std: As `mean`.
        interpolation: nearest, bilinear or bicubic.
        masks: Whether targets have the inside of each box's outline.
        channels: Of frames: 2, or 3 with the sum of both polarities.

    Raises:
        ValueError: An unknown name; in a call, masks without outlines or an image of another mode.
    """

    def __init__(
        self,
        *,
        image_size: Sequence[int],
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        interpolation: str = "bilinear",
        masks: bool = False,
        channels: int = 2,
        **_: Any,
    ):
        check_name("interpolation", interpolation, INTERPOLATIONS)
        self.size, self.masks, self.channels = (image_size[0], image_size[1]), masks, channels
        self.interpolation = InterpolationMode(interpolation)
        self.mean, self.std = mean, std

    def __call__(self, item: Any, label: Any) -> tuple[Tensor, Target]:
        sample = self.placed(self.wrapped(item, label))
        target = {key: sample[key] for key in sample.keys() - {"x"}}
        return self._pixels(sample["x"]), _plain(target)

    def alone(self, item: Any) -> Tensor:
        """An image or frames without a label: `[C, H, W]` or `[T, C, H, W]`."""
        return self._pixels(self.placed({"x": self._wrapped_input(item)})["x"])

    def placed(self, sample: dict[str, Any]) -> dict[str, Any]:
        """The sample resized to fit, in the upper left corner."""
        size = F.get_size(sample["x"])
        height, width = fitted((size[0], size[1]), self.size)
        below, beside = self.size[0] - height, self.size[1] - width

        def place(value: Any) -> Any:
            if not isinstance(value, tv_tensors.TVTensor):
                return value
            value = _resized(value, [height, width], self.interpolation)
            return F.pad(value, [0, 0, beside, below], fill=self._fill(value)) if below or beside else value

        return {key: place(value) for key, value in sample.items()}

    def wrapped(self, item: Any, label: Any) -> dict[str, Any]:
        """The sample as torchvision's tensors, which move together."""
        x = self._wrapped_input(item)
        if not isinstance(label, Boxes):
            return {"x": x, "mask": tv_tensors.Mask(torch.from_numpy(np.asarray(label)))}
        make: Any = tv_tensors.BoundingBoxes
        boxes = make(torch.from_numpy(label.corners), format="XYXY", canvas_size=label.size)
        sample = {"x": x, "boxes": boxes, "labels": torch.from_numpy(label.labels)}
        sample["iscrowd"] = torch.from_numpy(label.crowd)
        if self.masks:
            sample["masks"] = tv_tensors.Mask(torch.from_numpy(label.masks()))
        return sample

    def _wrapped_input(self, item: Any) -> Any:
        if not isinstance(item, Image.Image):
            return tv_tensors.Video(item)
        assert self.mean is not None and self.std is not None
        check_mode(item, len(self.mean))
        image = F.to_dtype(F.to_image(item), torch.float32, scale=True)
        return F.normalize(image, [*self.mean], [*self.std])

    def _fill(self, value: Any) -> float:
        return VOID if isinstance(value, tv_tensors.Mask) and value.ndim == 2 else 0

    def _pixels(self, x: Tensor) -> Tensor:
        x = x.as_subclass(Tensor)
        more = x.ndim == 4 and self.channels == 3
        return torch.cat([x, x.sum(1, keepdim=True)], 1) if more else x


class AugmentingPairTransform(PairTransform):
    """A `PairTransform` for training: flips, changes of colour, and a random crop after a random change of size.

    Boxes of which less than two pixels remain, and `crowd` ones, are left out.

    Args:
        hflip: Probability of a horizontal flip.
        vflip: Probability of a vertical flip.
        color_jitter: Brightness, contrast and saturation are each multiplied by up to 1 more or less this; images only.
        rand_augment: timm's configuration string, such as `rand-m9-n2`, of whose operations only those that move no
            pixel are drawn; images only.
        rand_augment_ops: Draw only these of them; empty draws all.
        scale_jitter: Range of the factor to the size that fits; what is larger is cropped, what is smaller filled up.
        **preprocess: As of `PairTransform`.
    """

    def __init__(
        self,
        *,
        hflip: float = 0.0,
        vflip: float = 0.0,
        color_jitter: float = 0.0,
        rand_augment: str | None = None,
        rand_augment_ops: Sequence[str] = (),
        scale_jitter: tuple[float, float] = (1.0, 1.0),
        **preprocess: Any,
    ):
        super().__init__(**preprocess)
        self.flips = v2.Compose([v2.RandomHorizontalFlip(hflip), v2.RandomVerticalFlip(vflip)])
        self.colors: list[Any] = []
        if color_jitter:
            self.colors.append(v2.ColorJitter(color_jitter, color_jitter, color_jitter))
        drawn = make_rand_augment(
            rand_augment,
            rand_augment_ops,
            image_size=max(self.size),
            mean=self.mean or (),
            interpolation=self.interpolation.value,
            in_place=True,
        )
        if drawn is not None:
            self.colors.append(drawn)
        self.jitter = None
        if tuple(scale_jitter) != (1.0, 1.0):
            fill: Any = {tv_tensors.Mask: VOID, "others": 0}
            into = (self.size[1], self.size[0])  # torchvision wants the width first here, and only here
            self.jitter = _ScaleJitter(into, (scale_jitter[0], scale_jitter[1]), self.interpolation)
            self.crop = v2.RandomCrop(self.size, pad_if_needed=True, fill=fill)
            self.crop_boxes = v2.RandomCrop(self.size, pad_if_needed=True, fill=0)

    def __call__(self, item: Any, label: Any) -> tuple[Tensor, Target]:
        if isinstance(item, Image.Image):
            check_mode(item, len(self.mean or ()))
            for change in self.colors:
                item = change(item)
        sample = self.flips(self.wrapped(item, label))
        if self.jitter is None:
            sample = self.placed(sample)
        else:
            crop = self.crop if "mask" in sample else self.crop_boxes
            sample = crop(self.jitter(sample))
        target = {key: sample[key] for key in sample.keys() - {"x"}}
        if "boxes" in target:
            corners = target["boxes"]
            kept = ((corners[:, 2:] - corners[:, :2]) >= _LEAST).all(1) & ~target.pop("iscrowd")
            target = {key: value[kept] for key, value in target.items()}
        return self._pixels(sample["x"]), _plain(target)


class _ScaleJitter(v2.ScaleJitter):
    """torchvision's, with masks in place, and for images of which less than a pixel would be left."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        return {"size": [max(1, side) for side in super().make_params(flat_inputs)["size"]]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return _resized(inpt, params["size"], self.interpolation)


def _resized(value: Any, size: list[int], interpolation: Any) -> Any:
    # torchvision's nearest takes the upper left of the pixels that become one, which moves a mask against its image
    exact = InterpolationMode.NEAREST_EXACT if interpolation is InterpolationMode.NEAREST else interpolation
    if not isinstance(value, tv_tensors.Mask):
        return F.resize(value, size, exact, antialias=True)
    planes = value.as_subclass(Tensor).view(-1, 1, *value.shape[-2:])
    resized = torch.nn.functional.interpolate(planes, size, mode="nearest-exact").view(*value.shape[:-2], *size)
    return tv_tensors.Mask(resized)


def fitted(size: tuple[int, int], into: Sequence[int]) -> tuple[int, int]:
    """Height and width of an image that is resized, keeping its shape, to fit into another size."""
    share = min(into[0] / size[0], into[1] / size[1])
    return max(1, round(size[0] * share)), max(1, round(size[1] * share))


def _plain(target: dict[str, Any]) -> Target:
    """Torch's own tensors; the mask itself, if there is one."""
    plain = {key: value.as_subclass(Tensor) for key, value in target.items()}
    return plain["mask"].long() if "mask" in plain else plain


def boxes_of_original(boxes: Tensor, size: tuple[int, int], image_size: Sequence[int]) -> Tensor:
    """Corners `[N, 4]` in a model's input as corners in the image of `size` that it was made from."""
    height, width = fitted(size, image_size)
    scale = torch.tensor([size[1] / width, size[0] / height] * 2)
    limits = torch.tensor([size[1], size[0]] * 2, dtype=torch.float32)
    return (boxes * scale).clamp(min=torch.zeros(4), max=limits)


def planes_of_original(planes: Tensor, size: tuple[int, int], image_size: Sequence[int]) -> Tensor:
    """Maps `[K, H, W]` over a model's input as maps over the image of `size` that it was made from."""
    height, width = fitted(size, image_size)
    planes = planes[..., :height, :width]
    return torch.nn.functional.interpolate(planes[None].float(), size, mode="bilinear", align_corners=False)[0]
