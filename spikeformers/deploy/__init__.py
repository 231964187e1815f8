"""Inference with trained models."""

from typing import TYPE_CHECKING, Any

from spikeformers.deploy.predict import Predictor
from spikeformers.models.folding import fold

if TYPE_CHECKING:
    from spikeformers.deploy.engine import SpikeEngine, load_engine, spike_engine

__all__ = ["Predictor", "SpikeEngine", "fold", "load_engine", "spike_engine"]


def __getattr__(name: str) -> Any:
    if name in __all__:  # an engine needs torch's tracer, which takes seconds to import
        from spikeformers.deploy import engine

        return getattr(engine, name)
    raise AttributeError(f"module 'spikeformers.deploy' has no attribute {name!r}")
