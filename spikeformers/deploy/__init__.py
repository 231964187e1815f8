"""Inference with trained models."""

from typing import TYPE_CHECKING

from spikeformers.lazy import lazy_names

if TYPE_CHECKING:
    from spikeformers.deploy.dense_predict import DensePredictor, Found
    from spikeformers.deploy.engine import SpikeEngine, load_engine, spike_engine
    from spikeformers.deploy.exporting import export
    from spikeformers.deploy.predict import Predictor
    from spikeformers.deploy.quantizing import quantize
    from spikeformers.deploy.request_bodies import Limits
    from spikeformers.deploy.serving import application
    from spikeformers.deploy.stream import Stream, streaming
    from spikeformers.deploy.unrolling import unroll
    from spikeformers.models.folding import fold

__all__ = [
    "DensePredictor",
    "Found",
    "Limits",
    "Predictor",
    "SpikeEngine",
    "Stream",
    "application",
    "export",
    "fold",
    "load_engine",
    "quantize",
    "spike_engine",
    "streaming",
    "unroll",
]

__getattr__ = lazy_names(
    __name__,
    {
        **dict.fromkeys(("DensePredictor", "Found"), "dense_predict"),
        "Predictor": "predict",  # without torch for an exported file
        "export": "exporting",
        "fold": ".models.folding",
        "quantize": "quantizing",
        "unroll": "unrolling",
        "Limits": "request_bodies",
        "application": "serving",
        **dict.fromkeys(("Stream", "streaming"), "stream"),
        **dict.fromkeys(("SpikeEngine", "load_engine", "spike_engine"), "engine"),
    },
)
