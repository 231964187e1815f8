"""Spiking Transformers in PyTorch: build, train, analyze, improve and deploy them."""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.3.0"

from spikeformers import layers, neurons, ops
from spikeformers.checkpoints import create_model, from_pretrained, load_checkpoint, push_to_hub, save_pretrained
from spikeformers.models import compile, lean, list_models, recompute_blocks

if TYPE_CHECKING:
    from spikeformers import analysis, data, deploy, training

__all__ = [
    "analysis", "compile", "create_model", "data", "deploy", "from_pretrained", "layers", "lean", "list_models",
    "load_checkpoint", "neurons", "ops", "push_to_hub", "recompute_blocks", "save_pretrained", "training",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    # Lightning, timm and torchvision take seconds to import, so modules that need them load on first use.
    if name in ("analysis", "data", "deploy", "training"):
        return importlib.import_module(f"spikeformers.{name}")
    raise AttributeError(f"module 'spikeformers' has no attribute {name!r}")
