"""Anchors on a pyramid of maps."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import clip_boxes_to_image


class Anchors(AnchorGenerator):
    """torchvision's anchors, with the strides of `pyramid` at any image size.

    A level of stride `s` has squares of side `scale * s * size` for each of `sizes`, and for each of them rectangles of
    the same area at the ratios 1 / 2 and 2. torchvision divides the image's size by the map's, which is exact for some
    sizes only, and rounds anchors to the maps' type, which under autocast has 16 bits.
    """

    def __init__(self, pyramid: Sequence[int], scale: float, sizes: Sequence[float] = (1.0,)):
        sides = tuple(tuple(scale * stride * size for size in sizes) for stride in pyramid)
        super().__init__(sides, ((0.5, 1.0, 2.0),) * len(pyramid))
        self.pyramid = tuple(pyramid)

    def boxes(self, levels: list[Tensor], deltas: Tensor, coder: BoxCoder, size: Sequence[int]) -> Tensor:
        """The boxes that deltas from the anchors stand for, clipped to an image of `size`: `[B, N, 4] -> [B, N, 4]`."""
        anchors = self(ImageList(levels[0][0, :1], [(0, 0)]), levels)[0]  # of one image; all have the same
        decoded = coder.decode_single(deltas.flatten(0, 1), anchors.repeat(deltas.shape[0], 1))
        return clip_boxes_to_image(decoded.unflatten(0, (-1, len(anchors))), (size[0], size[1]))

    def set_cell_anchors(self, dtype: torch.dtype, device: torch.device) -> None:
        super().set_cell_anchors(torch.promote_types(dtype, torch.float32), device)

    def grid_anchors(self, grid_sizes: list[list[int]], strides: list[list[Tensor]]) -> list[Tensor]:
        exact: list = [[stride, stride] for stride in self.pyramid]
        return super().grid_anchors(grid_sizes, exact)
