"""Spiking Transformers in PyTorch: build, train, analyze, improve and deploy them."""

from typing import TYPE_CHECKING

__version__ = "0.4.4"

from spikeformers.lazy import lazy_names

if TYPE_CHECKING:
    from spikeformers import analysis, data, deploy, layers, models, neurons, ops, training
    from spikeformers.checkpoints import create_model, from_pretrained, load_checkpoint, push_to_hub, save_pretrained
    from spikeformers.models import compile, lean, list_models, recompute_blocks

__all__ = [
    "analysis", "compile", "create_model", "data", "deploy", "from_pretrained", "layers", "lean", "list_models",
    "load_checkpoint", "models", "neurons", "ops", "push_to_hub", "recompute_blocks", "save_pretrained", "training",
]  # fmt: skip

__getattr__ = lazy_names(
    __name__,
    {
        **dict.fromkeys(("analysis", "data", "deploy", "layers", "models", "neurons", "ops", "training"), ""),
        **dict.fromkeys(("compile", "lean", "list_models", "recompute_blocks"), "models"),
        **dict.fromkeys(
            ("create_model", "from_pretrained", "load_checkpoint", "push_to_hub", "save_pretrained"), "checkpoints"
        ),
    },
)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
