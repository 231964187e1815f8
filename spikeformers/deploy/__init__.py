"""Inference with trained models."""

from typing import TYPE_CHECKING

from spikeformers.lazy import lazy_names

if TYPE_CHECKING:
    from spikeformers.deploy.engine import SpikeEngine, load_engine, spike_engine
    from spikeformers.deploy.exporting import export
    from spikeformers.deploy.predict import Predictor
    from spikeformers.deploy.stream import Stream, streaming
    from spikeformers.deploy.unrolling import unroll
    from spikeformers.models.folding import fold

__all__ = ["Predictor", "SpikeEngine", "Stream", "export", "fold", "load_engine", "spike_engine", "streaming", "unroll"]

__getattr__ = lazy_names(
    __name__,
    {
        "Predictor": "predict",  # without torch for an exported file
        "export": "exporting",
        "fold": ".models.folding",
        "unroll": "unrolling",
        **dict.fromkeys(("Stream", "streaming"), "stream"),
        **dict.fromkeys(("SpikeEngine", "load_engine", "spike_engine"), "engine"),
    },
)
