"""Inference with trained models."""

from typing import TYPE_CHECKING

from spikeformers.lazy import lazy_names

if TYPE_CHECKING:
    from spikeformers.deploy.dense_predict import DensePredictor, Found
    from spikeformers.deploy.engine import SpikeEngine, load_engine, spike_engine
    from spikeformers.deploy.exporting import export
    from spikeformers.deploy.predict import Predictor
    from spikeformers.deploy.unrolling import unroll
    from spikeformers.models.folding import fold

__all__ = [
    "DensePredictor", "Found", "Predictor", "SpikeEngine", "export", "fold", "load_engine", "spike_engine", "unroll",
]  # fmt: skip

__getattr__ = lazy_names(
    __name__,
    {
        **dict.fromkeys(("DensePredictor", "Found"), "dense_predict"),
        "Predictor": "predict",  # without torch for an exported file
        "export": "exporting",
        "fold": ".models.folding",
        "unroll": "unrolling",
        **dict.fromkeys(("SpikeEngine", "load_engine", "spike_engine"), "engine"),
    },
)
