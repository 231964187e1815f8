"""Putting trained models to work."""

from spikeformers.deploy.fold import fold
from spikeformers.deploy.predict import Predictor

__all__ = ["Predictor", "fold"]
