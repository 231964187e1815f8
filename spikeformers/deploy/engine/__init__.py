"""Inference on a CPU that costs what the ones among the spikes cost."""

from spikeformers.deploy.engine.engine import PlanRow, SpikeEngine, load_engine, spike_engine

__all__ = ["PlanRow", "SpikeEngine", "load_engine", "spike_engine"]
