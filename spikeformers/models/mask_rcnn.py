"""Mask R-CNN on any trunk: `mask_rcnn_sdt_v3_19m`.

He et al., "Mask R-CNN", ICCV 2017, arXiv:1703.06870.
"""

from spikeformers.layers.contracts import MakeConv, MakeNeck, MakeNeuron
from spikeformers.layers.conv import ConvNorm
from spikeformers.layers.neck import FPN
from spikeformers.models.dense import Detector
from spikeformers.models.network import SpikingTransformer
from spikeformers.models.on_backbone import DenseHead, undivided
from spikeformers.models.pyramids import pyramid_on
from spikeformers.models.registry import register_head
from spikeformers.neurons import LIF


def mask_rcnn(
    trunk: SpikingTransformer,
    *,
    num_classes: int = 80,
    image_size: int | tuple[int, int] = 224,
    pyramid: tuple[int, ...] | None = None,
    neck_dim: int = 256,
    head_dim: int = 1024,
    head_depth: int = 4,
    anchor_scale: float = 8.0,
    neck: MakeNeck = FPN,
    neck_neuron: MakeNeuron = LIF,
    neck_conv: MakeConv = ConvNorm,
    head_neuron: MakeNeuron = LIF,
    head_conv: MakeConv = ConvNorm,
) -> Detector:
    """A Mask R-CNN on a trunk: `[B, C, H, W]` or `[T, B, C, H, W]` -> losses or detections.

    `pyramid` has the strides of the levels, `(4, 8, 16, 32, 64)` unless the trunk is for small images. `head_dim` is
    the width of the box head, `head_depth` counts the mask head's convolutions; anchors have a side of `anchor_scale`
    strides. The released detector has no norms: `PlainConv` for `neck_conv` and `head_conv`.

    Raises ValueError for a pyramid of one level.
    """
    from spikeformers.layers.dense_head.mask_rcnn import MaskRCNN

    made, strides, stages = pyramid_on(trunk, neck, pyramid, (4, 8, 16, 32, 64), neck_dim, neck_neuron, neck_conv)
    if len(strides) < 2:
        raise ValueError(f"pyramid {strides} has one level, and regions are cut from all but the last: add a level")
    sizes = {"hidden_dim": head_dim, "depth": head_depth, "anchor_scale": anchor_scale}
    head = MaskRCNN(neck_dim, num_classes, strides, head_neuron, head_conv, **sizes)
    return Detector(trunk, stages=stages, neck=made, head=head, pyramid=strides, image_size=image_size)


register_head(DenseHead(mask_rcnn, "detection", undivided))
