"""Spiking Transformers in PyTorch: build, train, analyze, improve and deploy them."""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.3.0"

if TYPE_CHECKING:
    from spikeformers import analysis, data, deploy, layers, neurons, ops, training
    from spikeformers.checkpoints import create_model, from_pretrained, load_checkpoint, push_to_hub, save_pretrained
    from spikeformers.models import compile, lean, list_models, recompute_blocks

__all__ = [
    "analysis", "compile", "create_model", "data", "deploy", "from_pretrained", "layers", "lean", "list_models",
    "load_checkpoint", "neurons", "ops", "push_to_hub", "recompute_blocks", "save_pretrained", "training",
]  # fmt: skip

_HOMES = {
    **dict.fromkeys(("compile", "lean", "list_models", "recompute_blocks"), "models"),
    **dict.fromkeys(
        ("create_model", "from_pretrained", "load_checkpoint", "push_to_hub", "save_pretrained"), "checkpoints"
    ),
}


def __getattr__(name: str) -> Any:
    # torch and Lightning take seconds to import: whoever asks the command for help, or runs an exported file, waits for
    # neither. What is asked for is kept, so that this runs once a name.
    if name not in __all__:
        raise AttributeError(f"module 'spikeformers' has no attribute {name!r}")
    home = importlib.import_module(f"spikeformers.{_HOMES.get(name, name)}")
    globals()[name] = found = getattr(home, name) if name in _HOMES else home
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
