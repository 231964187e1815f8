"""RetinaNet on any trunk: `retinanet_sdt_v3_5m`.

Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, arXiv:1708.02002.
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


def retinanet(
    trunk: SpikingTransformer,
    *,
    num_classes: int = 80,
    image_size: int | tuple[int, int] = 224,
    pyramid: tuple[int, ...] | None = None,
    neck_dim: int = 256,
    head_depth: int = 4,
    anchor_scale: float = 4.0,
    neck: MakeNeck = FPN,
    neck_neuron: MakeNeuron = LIF,
    neck_conv: MakeConv = ConvNorm,
    head_neuron: MakeNeuron = LIF,
    head_conv: MakeConv = ConvNorm,
) -> Detector:
    """A RetinaNet on a trunk: `[B, C, H, W]` or `[T, B, C, H, W]` -> losses or detections.

    `pyramid` has the strides of the levels, `(8, 16, 32, 64, 128)` unless the trunk is for small images. A branch has
    `head_depth` convolutions of width `neck_dim`; anchors are three sides from `anchor_scale` strides, at three ratios.
    The released detector has no norms: `PlainConv` for `neck_conv` and `head_conv`.
    """
    from spikeformers.layers.dense_head.retinanet import RetinaNet

    made, strides, stages = pyramid_on(trunk, neck, pyramid, (8, 16, 32, 64, 128), neck_dim, neck_neuron, neck_conv)
    head = RetinaNet(
        neck_dim, num_classes, strides, head_neuron, head_conv, depth=head_depth, anchor_scale=anchor_scale
    )
    return Detector(trunk, stages=stages, neck=made, head=head, pyramid=strides, image_size=image_size)


register_head(DenseHead(retinanet, "detection", undivided))
