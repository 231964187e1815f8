"""Seeing inside a model, from outside: hooks read what passes, and the model's forward carries nothing for it."""

from spikeformers.analysis.bench import Speed, bare_products, bench
from spikeformers.analysis.firing_rate import FiringRates
from spikeformers.analysis.parts_tree import parts_tree

__all__ = ["FiringRates", "Speed", "bare_products", "bench", "parts_tree"]
