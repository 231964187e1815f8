"""A detector's or segmenter's answers as answers on the images that its inputs were made from."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .transforms import boxes_of_original, planes_of_original


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
        return planes_of_original(answer.detach().cpu(), size, image_size).argmax(0)
    found = {key: value.detach().cpu() for key, value in answer.items() if key != "iscrowd"}
    if "scores" in found:
        kept = found["scores"] >= least
        found = {key: value[kept] for key, value in found.items()}
    found["boxes"] = boxes_of_original(found["boxes"], size, image_size)
    if "masks" in found:
        masks = found["masks"].float().flatten(1, -3) if found["masks"].ndim == 4 else found["masks"].float()
        empty = torch.zeros(0, *size, dtype=torch.bool)
        found["masks"] = planes_of_original(masks, size, image_size) > 0.5 if len(masks) else empty
    return found
