"""The spike engine: inference on a CPU that skips zeros."""

from spikeformers.deploy.engine.engine import PlanRow, SpikeEngine
from spikeformers.deploy.engine.loading import load_engine
from spikeformers.deploy.engine.making import spike_engine

__all__ = ["PlanRow", "SpikeEngine", "load_engine", "spike_engine"]
