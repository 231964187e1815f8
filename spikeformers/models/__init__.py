"""Families of spiking transformers, one file each. Importing this registers them all."""

from spikeformers.models import (
    maxformer,
    qkformer,
    sdt,
    sdt_v2,
    sdt_v3,
    sdt_v3_large,
    sew_resnet,
    spikformer,
    spikingformer,
    spikingresformer,
)
from spikeformers.models._checkpoint import from_pretrained, load_checkpoint, read_checkpoint, save_pretrained
from spikeformers.models._identify import Candidate, identify
from spikeformers.models._network import SpikingTransformer
from spikeformers.models._registry import Published, create_model, describe_model, list_models, register

__all__ = [
    "Candidate", "Published", "SpikingTransformer", "create_model", "describe_model", "from_pretrained", "identify",
    "list_models", "load_checkpoint", "maxformer", "qkformer", "read_checkpoint", "register", "save_pretrained", "sdt",
    "sdt_v2", "sdt_v3", "sdt_v3_large", "sew_resnet", "spikformer", "spikingformer", "spikingresformer",
]  # fmt: skip
