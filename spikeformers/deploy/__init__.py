"""Putting trained models to work."""

from spikeformers.deploy.predict import Predictor
from spikeformers.models.folding import fold

__all__ = ["Predictor", "fold"]
