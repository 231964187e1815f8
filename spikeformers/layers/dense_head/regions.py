"""Regions of a pyramid, and the layers that read them."""

from collections.abc import Sequence
from math import log2

from torch import Tensor, nn
from torchvision.ops import MultiScaleRoIAlign
from torchvision.ops.poolers import initLevelMapper


class TimedRoIAlign(MultiScaleRoIAlign):
    """torchvision's RoIAlign at every step: levels `[T, B, D, H_i, W_i]` and boxes -> `[T, R, D, size, size]` current.

    R counts the regions of all images. Larger regions are cut from coarser levels, at all steps from the same one.
    """

    chooses = True

    def __init__(self, pyramid: Sequence[int], size: int):
        super().__init__([str(level) for level in range(len(pyramid))], size, sampling_ratio=2)
        # set once, for torchvision's are those of the first image that comes
        self.scales = [1 / stride for stride in pyramid]
        self.map_levels = initLevelMapper(int(log2(pyramid[0])), int(log2(pyramid[-1])))

    def forward(self, x: dict[str, Tensor], boxes: list[Tensor], image_shapes: list[tuple[int, int]]) -> Tensor:
        steps = next(iter(x.values())).shape[0]
        kind = boxes[0].dtype  # float32 where the levels have 16 bits; the kernel takes one type
        merged = {key: level.transpose(0, 1).flatten(1, 2).to(kind) for key, level in x.items()}  # B TD H W
        cut = super().forward(merged, boxes, image_shapes).to(next(iter(x.values())).dtype)
        return cut.unflatten(1, (steps, -1)).transpose(0, 1)


class OnRegions(nn.Sequential):
    """Parts in sequence on regions: `[T, R, ...]`. Without regions none runs, and no norm's statistics change.

    `none` has the shape of one region's output.
    """

    on_regions = True

    def __init__(self, *parts: nn.Module, none: Sequence[int]):
        super().__init__(*parts)
        self.none = tuple(none)

    def forward(self, input: Tensor) -> Tensor:
        if input.shape[1]:
            return super().forward(input)
        zero = sum(parameter.sum() for parameter in self.parameters()) * 0  # every process of a run needs gradients
        return input.new_zeros(0, *self.none) + zero
