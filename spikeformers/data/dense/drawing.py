"""Pictures of boxes and masks on an image, by torchvision."""

import colorsys
from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor

from .labelled import VOID

_WIDE = 480  # pixels of the longer side; smaller pictures are enlarged, so that labels can be read


def colors(count: int) -> list[tuple[int, int, int]]:
    """A colour of its own for each class: red, green and blue, 0 to 255."""
    turns = ((0.61803 * k % 1.0, 0.9 - 0.3 * (k // 2 % 2), 0.6 + 0.3 * (k // 4 % 2)) for k in range(count))
    parts = (colorsys.hsv_to_rgb(*turn) for turn in turns)
    return [(round(255 * red), round(255 * green), round(255 * blue)) for red, green, blue in parts]


def with_boxes(
    picture: Image.Image,
    found: dict[str, Tensor],
    classes: Sequence[str],
) -> Image.Image:
    """A picture with `boxes` `[N, 4]` in its pixels, their classes and, if there are any, `scores` and `masks`."""
    from torchvision.transforms.functional import to_pil_image
    from torchvision.utils import draw_bounding_boxes, draw_segmentation_masks

    times = max(1, -(-_WIDE // max(picture.size)))
    pixels = _pixels(picture.resize((picture.width * times, picture.height * times)))
    boxes, labels = found["boxes"].cpu() * times, found["labels"].tolist()
    if not labels:
        return to_pil_image(pixels)
    palette = colors(len(classes))
    scores = found["scores"].tolist() if "scores" in found else [None] * len(labels)
    names = [str(classes[k]) + (f" {score:.0%}" if score else "") for k, score in zip(labels, scores, strict=True)]
    chosen = [palette[k] for k in labels]
    if "masks" in found and len(found["masks"]):
        masks = found["masks"].cpu().bool().repeat_interleave(times, -1).repeat_interleave(times, -2)
        pixels = draw_segmentation_masks(pixels, masks, alpha=0.5, colors=chosen)
    return to_pil_image(draw_bounding_boxes(pixels, boxes, names, chosen, width=2))


def with_mask(picture: Image.Image, mask: Tensor, classes: Sequence[str]) -> Image.Image:
    """A picture with the classes `[H, W]` of its pixels as colours; void stays as it is."""
    from torchvision.transforms.functional import to_pil_image
    from torchvision.utils import draw_segmentation_masks

    there = [k for k in mask.unique().tolist() if k != VOID]
    palette = colors(len(classes))
    layers = torch.stack([mask.cpu() == k for k in there]) if there else torch.zeros(0, *mask.shape, dtype=torch.bool)
    drawn = draw_segmentation_masks(_pixels(picture), layers, alpha=0.7, colors=[palette[k] for k in there])
    return to_pil_image(drawn)


def _pixels(picture: Image.Image) -> Tensor:
    from torchvision.transforms.functional import pil_to_tensor

    return pil_to_tensor(picture.convert("RGB"))
