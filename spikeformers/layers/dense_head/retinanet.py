"""RetinaNet: classes and boxes of anchors, densely on every level."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import detection
from torchvision.models.detection import retinanet
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import permute_and_flatten

from spikeformers.layers.contracts import MakeConv, MakeNeuron
from spikeformers.layers.conv import ConvNorm
from spikeformers.layers.dense_head.anchors import Anchors
from spikeformers.layers.dense_head.shared_conv import SharedReadout, shared_tower


def by_anchor(levels: list[Tensor], numbers: int) -> Tensor:
    """Outputs in the order of the anchors: `[[B, A * numbers, H_i, W_i], ...] -> [B, N, numbers]`."""
    return torch.cat([permute_and_flatten(y, y.shape[0], -1, numbers, *y.shape[-2:]) for y in levels], 1)


class ClassBranch(retinanet.RetinaNetClassificationHead):
    """Logits of the classes at each anchor: `[[T, B, D, H_i, W_i], ...] -> [B, N, K]`; the focal loss."""

    def __init__(
        self, dim: int, anchors: int, num_classes: int, depth: int, neuron: MakeNeuron, conv: MakeConv = ConvNorm
    ):
        super().__init__(1, anchors, num_classes)
        rare = -math.log((1 - 0.01) / 0.01)  # few anchors are objects
        del self.conv
        self.tower = shared_tower(dim, depth, neuron, conv)
        self.cls_logits = SharedReadout(dim, anchors * num_classes, 3, neuron, bias=rare)

    def forward(self, levels: list[Tensor]) -> Tensor:
        return by_anchor(self.cls_logits(self.tower(levels)), self.num_classes)


class BoxBranch(retinanet.RetinaNetRegressionHead):
    """Deltas from each anchor to its box: `[[T, B, D, H_i, W_i], ...] -> [B, N, 4]`; the L1 loss."""

    def __init__(self, dim: int, anchors: int, depth: int, neuron: MakeNeuron, conv: MakeConv = ConvNorm):
        super().__init__(1, anchors)
        del self.conv
        self.tower = shared_tower(dim, depth, neuron, conv)
        self.bbox_reg = SharedReadout(dim, anchors * 4, 3, neuron)

    def forward(self, levels: list[Tensor]) -> Tensor:
        return by_anchor(self.bbox_reg(self.tower(levels)), 4)


class RetinaNetHead(retinanet.RetinaNetHead):
    """Both branches: `[[T, B, D, H_i, W_i], ...] -> {"cls_logits": [B, N, K], "bbox_regression": [B, N, 4]}`."""

    def __init__(
        self, dim: int, anchors: int, num_classes: int, depth: int, neuron: MakeNeuron, conv: MakeConv = ConvNorm
    ):
        nn.Module.__init__(self)
        self.classification_head = ClassBranch(dim, anchors, num_classes, depth, neuron, conv)
        self.regression_head = BoxBranch(dim, anchors, depth, neuron, conv)


class RetinaNet(detection.RetinaNet):
    """From a pyramid to losses or detections, by torchvision's RetinaNet: `[[T, B, D, H_i, W_i], ...] -> ...`.

    Each branch has `depth` 3x3 convolutions and one to its outputs, a neuron in front of each. A level of stride `s`
    has 9 anchors per place: three sides from `anchor_scale * s` up, three ratios. Lin et al., ICCV 2017,
    arXiv:1708.02002.
    """

    learns_from = ("boxes", "labels")
    chooses = True

    def __init__(
        self,
        dim: int,
        num_classes: int,
        pyramid: Sequence[int],
        neuron: MakeNeuron,
        conv: MakeConv = ConvNorm,
        *,
        depth: int = 4,
        anchor_scale: float = 4.0,
    ):
        anchors = Anchors(pyramid, anchor_scale, (1, 2 ** (1 / 3), 2 ** (2 / 3)))
        head = RetinaNetHead(dim, anchors.num_anchors_per_location()[0], num_classes, depth, neuron, conv)
        pyramid_comes_as_argument: Any = nn.Identity()
        pyramid_comes_as_argument.out_channels = dim
        super().__init__(pyramid_comes_as_argument, num_classes, anchor_generator=anchors, head=head)
        del self.backbone, self.transform
        self.num_classes = num_classes

    def forward(self, levels: list[Tensor], images: ImageList, targets: list[dict[str, Tensor]] | None = None) -> Any:
        """Losses, by name, in training; detections, one dict per image, in evaluation."""
        outputs = self.head(levels)
        anchors = self.anchor_generator(images, levels)
        if self.training:
            assert targets is not None
            return self.compute_loss(targets, outputs, anchors)
        places = self.anchor_generator.num_anchors_per_location()
        counts = [n * x.shape[-2] * x.shape[-1] for n, x in zip(places, levels, strict=True)]
        by_level = {key: list(value.split(counts, 1)) for key, value in outputs.items()}
        return self.postprocess_detections(by_level, [list(each.split(counts)) for each in anchors], images.image_sizes)

    def outputs(self, levels: list[Tensor], size: Sequence[int]) -> dict[str, Tensor]:
        """What comes before boxes are chosen: at N anchors `scores [B, N, K]` and `boxes [B, N, 4]`."""
        anchors: Any = self.anchor_generator
        logits, deltas = self.head(levels).values()
        return {"scores": logits.sigmoid(), "boxes": anchors.boxes(levels, deltas, self.box_coder, size)}
