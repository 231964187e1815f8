"""Families of spiking transformers, one file each. Importing this registers them all."""

from spikeformers.models import (
    maxformer,
    qkformer,
    sdt,
    sdt_v2,
    sdt_v3,
    sdt_v3_large,
    sdt_v3_mae,
    sew_resnet,
    spikformer,
    spikingformer,
    spikingresformer,
)
from spikeformers.models._check import check_model
from spikeformers.models._checkpoint import from_pretrained, load_checkpoint, read_checkpoint
from spikeformers.models._compile import compile
from spikeformers.models._identify import Candidate, identify
from spikeformers.models._lean import lean
from spikeformers.models._network import SpikingTransformer
from spikeformers.models._papers import PAPERS, Paper
from spikeformers.models._registry import (
    Published,
    create_model,
    describe_family,
    describe_model,
    list_families,
    list_models,
    register,
)
from spikeformers.models._save import push_to_hub, save_pretrained

__all__ = [
    "PAPERS", "Candidate", "Paper", "Published", "SpikingTransformer", "check_model", "compile", "create_model",
    "describe_family", "describe_model", "from_pretrained", "identify", "lean", "list_families", "list_models",
    "load_checkpoint", "maxformer", "push_to_hub", "qkformer", "read_checkpoint", "register", "save_pretrained",
    "sdt", "sdt_v2", "sdt_v3", "sdt_v3_large", "sdt_v3_mae", "sew_resnet", "spikformer", "spikingformer",
    "spikingresformer",
]  # fmt: skip
