"""The frames of detectors and segmenters: a classifier's trunk, a neck, and a head on a pyramid of maps."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

from spikeformers.models.network import SpikingTransformer
from spikeformers.models.stages import Stage
from spikeformers.ops.layout import keep_layout


class DenseTransformer(SpikingTransformer):
    """A trunk with a neck on its stages and a head on the neck's pyramid. Keys of the trunk are a classifier's.

    Args:
        trunk: A classifier, whose stem, position part and blocks are used.
        stages: The stages that the neck reads.
        neck: From their streams to the pyramid.
        head: From the pyramid to predictions.
        pyramid: Strides of the pyramid's levels.
        image_size: The side of the images that the model is made for, or height and width; others work too.

    Raises:
        ValueError: On a call, for an image smaller than the largest stride, and as a classifier does.
    """

    def __init__(
        self,
        trunk: SpikingTransformer,
        *,
        stages: Sequence[Stage],
        neck: nn.Module,
        head: nn.Module,
        pyramid: Sequence[int],
        image_size: int | tuple[int, int],
    ):
        super().__init__(
            stem=trunk.stem,
            position=trunk.position,
            blocks=trunk.blocks,
            head=nn.Identity(),
            time_steps=trunk.time_steps,
            image_size=image_size,
            stages=stages,
        )
        del self.head
        self.neck, self.head = neck, head
        self.pyramid = tuple(pyramid)

    def forward_pyramid(self, x: Tensor) -> list[Tensor]:
        """The pyramid, finest level first: `[B, C, H, W]` or `[T, B, C, H, W] -> [[T, B, D, H / p, W / p], ...]`.

        An image is padded with zeros, right and below, to a multiple of the trunk's stride; sizes are rounded up.
        """
        return [keep_layout(level) for level in self.neck(self._forward_ends(x, self.stages))]

    def read_out(self, levels: list[Tensor], x: Tensor) -> Any:
        """What the model returns for images `x`, from their pyramid."""
        raise NotImplementedError

    def _sequence(self, x: Tensor) -> Tensor:
        return super()._sequence(self._padded(x))

    def _padded(self, x: Tensor) -> Tensor:
        if not isinstance(x, Tensor) or x.ndim not in (4, 5) or 0 in x.shape:
            return x  # refused by the checks of all models
        (height, width), largest = x.shape[-2:], max(self.pyramid)
        if min(height, width) < largest:
            fitting = tuple(stride for stride in self.pyramid if stride <= min(height, width))
            raise ValueError(
                f"an image of {height} x {width} is smaller than the largest stride {largest}: give larger images, or "
                f"build the model with pyramid={fitting or 'of smaller strides'}"
            )
        stride = self.stages[-1].reduction
        missing = (0, -width % stride, 0, -height % stride)
        return pad(x, missing) if any(missing) else x

    def forward_steps(self, x: Tensor) -> Tensor:
        raise self._no_logits("forward_steps")

    def forward_heads(self, x: Tensor) -> tuple[Tensor, ...]:
        raise self._no_logits("forward_heads")

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        raise self._no_logits("forward_head")

    def reset_classifier(self, num_classes: int) -> None:
        raise self._no_logits("reset_classifier")

    def _no_logits(self, method: str) -> TypeError:
        return TypeError(f"{method} is for classifiers and this model is for {self.task}: call it, or forward_outputs")


class Detector(DenseTransformer):
    """Boxes, and masks where the head has them: images `[B, C, H, W]` or `[T, B, C, H, W]`.

    In training, `model(images, targets)` returns a dict of losses by name, each `[]`. Targets are B dicts of `boxes`,
    float `[N, 4]`, left, top, right and bottom in pixels; `labels`, int64 `[N]`, from 0; and `masks`, uint8
    `[N, H, W]`, for Mask R-CNN. In evaluation `model(images)` returns B dicts in the same form, with `scores`, best
    first; only Mask R-CNN gives `masks`.

    Raises:
        ValueError: On a call in training, if targets are missing or malformed, a box has no area, or a label is not
            one of the classes.
    """

    task = "detection"

    def forward(self, x: Tensor, targets: list[dict[str, Tensor]] | None = None) -> Any:
        if self.training:
            self._check_targets(x, targets)
        return self.read_out(self.forward_pyramid(x), x, targets)

    def read_out(self, levels: list[Tensor], x: Tensor, targets: list[dict[str, Tensor]] | None = None) -> Any:
        """Losses or detections, from the pyramid of images `x`."""
        from torchvision.models.detection.image_list import ImageList

        height, width = x.shape[-2:]
        images = x if x.ndim == 4 else x[0]
        return self.head(levels, ImageList(images, [(height, width)] * len(images)), targets)

    def forward_outputs(self, x: Tensor) -> dict[str, Tensor]:
        """What the head computes before it chooses: `scores` and `boxes` at all anchors, as its `outputs` says."""
        return self.head.outputs(self.forward_pyramid(x), x.shape[-2:])

    def _check_targets(self, x: Tensor, targets: list[dict[str, Tensor]] | None) -> None:
        if targets is None:
            raise ValueError("a detector in training needs targets: give them, or call model.eval() for detections")
        if not isinstance(x, Tensor) or x.ndim not in (4, 5):
            return  # refused by the checks of all models
        if len(targets) != x.shape[-4]:
            raise ValueError(f"{len(targets)} targets do not match {x.shape[-4]} images: give one for each image")
        for number, target in enumerate(targets):
            if missing := [key for key in self.head.learns_from if key not in target]:
                raise ValueError(f"image {number} has no {' and '.join(missing)} to learn from: add them to its target")
            boxes, labels = target["boxes"], target["labels"]
            if not isinstance(boxes, Tensor) or not boxes.is_floating_point() or boxes.shape[1:] != (4,):
                raise ValueError(f"image {number} has boxes {_form(boxes)}, not float [N, 4]: give [0, 4] for none")
            if not isinstance(labels, Tensor) or labels.dtype != torch.int64 or labels.ndim != 1:
                raise ValueError(f"image {number} has labels {_form(labels)}, not int64 [N]: give [0] for none")
            if len(boxes) != len(labels):
                raise ValueError(f"image {number} has {len(boxes)} boxes but {len(labels)} labels: give one per box")
            if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < self.num_classes:
                raise ValueError(
                    f"image {number} has labels {sorted({*labels.tolist()})}, the model has {self.num_classes} classes "
                    f"from 0: build it with num_classes={int(labels.max()) + 1} or more"
                )
            if not (boxes[:, 2:] > boxes[:, :2]).all():
                raise ValueError(f"image {number} has a box of no area: leave such boxes out")
            if not boxes.isfinite().all():
                raise ValueError(f"image {number} has a box with an infinite corner: leave such boxes out")
            if "masks" in self.head.learns_from:
                masks, wanted = target["masks"], (len(boxes), *x.shape[-2:])
                if not isinstance(masks, Tensor) or masks.shape != wanted:
                    raise ValueError(
                        f"image {number} has masks {_form(masks)}, not {list(wanted)}: give one for each box"
                    )


def _form(value: Any) -> str:
    return (
        f"{value.dtype} {list(value.shape)}".removeprefix("torch.") if isinstance(value, Tensor) else f"{value!r:.40}"
    )


class Segmenter(DenseTransformer):
    """Logits of every pixel: images `[B, C, H, W]` or `[T, B, C, H, W] -> [B, K, H, W]`.

    The head's logits, at the pyramid's finest stride, are enlarged bilinearly to the size of the image.
    """

    task = "segmentation"

    def forward(self, x: Tensor) -> Tensor:
        return self.read_out(self.forward_pyramid(x), x)

    def read_out(self, levels: list[Tensor], x: Tensor) -> Tensor:
        """Logits `[B, K, H, W]`, from the pyramid of images `x`."""
        logits = self.head(levels)
        whole = interpolate(logits, scale_factor=float(self.pyramid[0]), mode="bilinear", align_corners=False)
        return whole[..., : x.shape[-2], : x.shape[-1]]
