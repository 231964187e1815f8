"""Families of spiking transformers, one file each. Importing this module registers all of them."""

from spikeformers.models import (
    fpn,
    mask_rcnn,
    maxformer,
    msvit,
    qkformer,
    qsd,
    retinanet,
    sdt,
    sdt_v2,
    sdt_v3,
    sdt_v3_large,
    sdt_v3_mae,
    sew_resnet,
    sglformer,
    spikformer,
    spikformer_v2,
    spikformer_v2_mae,
    spikingformer,
    spikingresformer,
    swformer,
)
from spikeformers.models.building import build
from spikeformers.models.check import check_model
from spikeformers.models.compiling import compile
from spikeformers.models.dense import Detector, Segmenter
from spikeformers.models.network import SpikingTransformer
from spikeformers.models.papers import PAPERS, Paper
from spikeformers.models.recompute import lean, recompute_blocks
from spikeformers.models.registry import (
    Published,
    describe_family,
    describe_model,
    list_families,
    list_models,
    register,
)
from spikeformers.models.stages import Stage

__all__ = [
    "PAPERS", "Detector", "Paper", "Published", "Segmenter", "SpikingTransformer", "Stage", "build", "check_model",
    "compile", "describe_family", "describe_model", "fpn", "lean", "list_families", "list_models", "mask_rcnn",
    "maxformer", "msvit", "qkformer", "qsd", "recompute_blocks", "register", "retinanet", "sdt", "sdt_v2", "sdt_v3",
    "sdt_v3_large", "sdt_v3_mae", "sew_resnet", "sglformer", "spikformer", "spikformer_v2", "spikformer_v2_mae",
    "spikingformer", "spikingresformer", "swformer",
]  # fmt: skip
