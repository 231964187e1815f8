"""Semantic FPN on any trunk: `fpn_sdt_v3_5m`.

Kirillov et al., "Panoptic Feature Pyramid Networks", CVPR 2019, arXiv:1901.02446.
"""

from spikeformers.layers.contracts import MakeConv, MakeNeck, MakeNeuron
from spikeformers.layers.conv import ConvNorm
from spikeformers.layers.neck import FPN
from spikeformers.models.dense import Segmenter
from spikeformers.models.network import SpikingTransformer
from spikeformers.models.on_backbone import DenseHead
from spikeformers.models.pyramids import pyramid_on
from spikeformers.models.registry import register_head
from spikeformers.neurons import LIF


def fpn(
    trunk: SpikingTransformer,
    *,
    num_classes: int = 150,
    image_size: int | tuple[int, int] = 224,
    pyramid: tuple[int, ...] | None = None,
    neck_dim: int = 128,
    neck: MakeNeck = FPN,
    neck_neuron: MakeNeuron = LIF,
    neck_conv: MakeConv = ConvNorm,
    head_neuron: MakeNeuron = LIF,
    head_conv: MakeConv = ConvNorm,
) -> Segmenter:
    """A Semantic FPN on a trunk: `[B, C, H, W]` or `[T, B, C, H, W] -> [B, K, H, W]` logits.

    `pyramid` has the strides of the levels, `(4, 8, 16, 32)` unless the trunk is for small images; `neck_dim` is the
    width of neck and head.
    """
    from spikeformers.layers.dense_head.semantic_fpn import SemanticFPN

    made, strides, stages = pyramid_on(trunk, neck, pyramid, (4, 8, 16, 32), neck_dim, neck_neuron, neck_conv)
    head = SemanticFPN(neck_dim, neck_dim, num_classes, strides, head_neuron, head_conv)
    return Segmenter(trunk, stages=stages, neck=made, head=head, pyramid=strides, image_size=image_size)


register_head(DenseHead(fpn, "segmentation", lambda neuron: neuron))
