"""Inference with trained models."""

from spikeformers.deploy.engine import SpikeEngine, load_engine, spike_engine
from spikeformers.deploy.predict import Predictor
from spikeformers.models.folding import fold

__all__ = ["Predictor", "SpikeEngine", "fold", "load_engine", "spike_engine"]
