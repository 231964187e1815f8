"""Mask R-CNN: regions from a proposal network, and for each a class, a box and a mask."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import RoIHeads, paste_masks_in_image
from torchvision.models.detection.rpn import RegionProposalNetwork, concat_box_prediction_layers

from spikeformers.layers.contracts import MakeConv, MakeNeuron
from spikeformers.layers.conv import ConvNorm
from spikeformers.layers.dense_head.anchors import Anchors
from spikeformers.layers.dense_head.box import BoxPredictor, box_head
from spikeformers.layers.dense_head.mask import WithBackground, mask_head
from spikeformers.layers.dense_head.regions import TimedRoIAlign
from spikeformers.layers.dense_head.rpn import RPNHead


class Proposals(RegionProposalNetwork):
    """torchvision's."""

    chooses = True


class Regions(RoIHeads):
    """torchvision's."""

    chooses = True


class MaskRCNN(nn.Module):
    """From a pyramid to losses or detections with masks, by torchvision's parts: `[[T, B, D, H_i, W_i], ...] -> ...`.

    Regions are cut from all levels but the coarsest. A level of stride `s` has 3 anchors per place, of side
    `anchor_scale * s`. `hidden_dim` is the width of the box head, `depth` counts the mask head's convolutions. A neuron
    stands in front of each convolution and linear layer. He et al., ICCV 2017, arXiv:1703.06870.
    """

    learns_from = ("boxes", "labels", "masks")
    chooses = True

    def __init__(
        self,
        dim: int,
        num_classes: int,
        pyramid: Sequence[int],
        neuron: MakeNeuron,
        conv: MakeConv = ConvNorm,
        *,
        hidden_dim: int = 1024,
        depth: int = 4,
        anchor_scale: float = 8.0,
    ):
        super().__init__()
        self.num_classes = num_classes
        anchors = Anchors(pyramid, anchor_scale)
        most = {"training": 2000, "testing": 1000}
        self.rpn = Proposals(
            anchors,
            RPNHead(dim, anchors.num_anchors_per_location()[0], neuron, conv),
            fg_iou_thresh=0.7,
            bg_iou_thresh=0.3,
            batch_size_per_image=256,
            positive_fraction=0.5,
            pre_nms_top_n=most,
            post_nms_top_n=most,
            nms_thresh=0.7,
        )
        self.roi_heads = Regions(
            TimedRoIAlign(pyramid[:-1], 7),
            box_head(dim, hidden_dim, num_classes, neuron, conv),
            BoxPredictor(num_classes),
            fg_iou_thresh=0.5,
            bg_iou_thresh=0.5,
            batch_size_per_image=512,
            positive_fraction=0.25,
            bbox_reg_weights=None,
            score_thresh=0.05,
            nms_thresh=0.5,
            detections_per_img=100,
            mask_roi_pool=TimedRoIAlign(pyramid[:-1], 14),
            mask_head=mask_head(dim, num_classes, depth, neuron, conv),
            mask_predictor=WithBackground(),
        )

    def forward(self, levels: list[Tensor], images: ImageList, targets: list[dict[str, Tensor]] | None = None) -> Any:
        """Losses, by name, in training; detections, one dict per image, in evaluation."""
        features = {str(number): level for number, level in enumerate(levels)}
        proposals, losses = self.rpn(images, features, targets)
        from_one = targets and [{**target, "labels": target["labels"] + 1} for target in targets]
        found, more = self.roi_heads(features, proposals, images.image_sizes, from_one)
        if self.training:
            return losses | more
        return [_on_image(each, size) for each, size in zip(found, images.image_sizes, strict=True)]

    def outputs(self, levels: list[Tensor], size: Sequence[int]) -> dict[str, Tensor]:
        """What comes before regions are chosen: `scores [B, N, 1]`, `boxes [B, N, 4]`, and the levels to cut from."""
        images = levels[0].shape[1]
        anchors: Any = self.rpn.anchor_generator
        objectness, deltas = concat_box_prediction_layers(*self.rpn.head(levels))
        boxes = anchors.boxes(levels, deltas.unflatten(0, (images, -1)), self.rpn.box_coder, size)
        cut = {f"level_{number}": level for number, level in enumerate(levels[:-1])}
        return {"scores": objectness.sigmoid().unflatten(0, (images, -1)), "boxes": boxes, **cut}


def _on_image(found: dict[str, Tensor], size: tuple[int, int]) -> dict[str, Tensor]:
    """Detections with labels from 0 and masks, uint8, of the image's size."""
    masks = paste_masks_in_image(found["masks"], found["boxes"], size)[:, 0] >= 0.5
    return {**found, "labels": found["labels"] - 1, "masks": masks.to(torch.uint8)}
