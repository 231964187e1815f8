"""A detector's or segmenter's answers as answers on the images that its inputs were made from."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .transforms import boxes_of_original, planes_of_original

_TOGETHER = 8  # planes that are enlarged at once


def on_original(answer: Any, size: tuple[int, int], image_size: Sequence[int], least: float = 0.0) -> Any:
    """One answer, moved to the image of `size` (height, width).

    Args:
        answer: Of a detector, the dict of an image; of a segmenter, the logits `[K, H, W]`.
        size: Height and width of the image.
        image_size: Height and width of the model's input, into which the image was fitted.
        least: The least score of a box.

    Returns:
        The dict with boxes in the image's pixels and bool masks `[N, height, width]`, or classes `[height, width]`.
    """
    if isinstance(answer, Tensor):
        return _highest(answer.detach().cpu(), size, image_size)
    found = {key: value.detach().cpu() for key, value in answer.items() if key != "iscrowd"}
    if "scores" in found:
        kept = found["scores"] >= least
        found = {key: value[kept] for key, value in found.items()}
    found["boxes"] = boxes_of_original(found["boxes"], size, image_size)
    there = (found["boxes"][:, 2:] > found["boxes"][:, :2]).all(1)  # others lie in what fills up the input
    found = {key: value[there] for key, value in found.items()}
    if "masks" in found:
        masks = found["masks"].float()
        masks = masks[:, 0] if masks.ndim == 4 else masks  # torchvision's detectors give [N, 1, H, W]
        found["masks"] = torch.zeros(len(masks), *size, dtype=torch.bool)
        for inside, mask in zip(found["masks"], masks, strict=True):
            inside[:] = planes_of_original(mask[None], size, image_size)[0] > 0.5
    return found


def _highest(planes: Tensor, size: tuple[int, int], image_size: Sequence[int]) -> Tensor:
    """The class of each pixel; a few classes at a time, for all planes of a large photograph need gigabytes."""
    best = torch.full(size, -torch.inf)
    classes = torch.zeros(size, dtype=torch.long)
    for first in range(0, len(planes), _TOGETHER):
        highest, there = planes_of_original(planes[first : first + _TOGETHER], size, image_size).max(0)
        higher = highest > best
        best, classes = torch.where(higher, highest, best), torch.where(higher, there + first, classes)
    return classes
