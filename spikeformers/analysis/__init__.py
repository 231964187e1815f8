"""Seeing inside a model, from outside: hooks read what passes, and the model's forward carries nothing for it."""

from spikeformers.analysis.bench import Speed, bare_products, bench
from spikeformers.analysis.energy import CONVENTIONS, Convention, Costs, Energy
from spikeformers.analysis.firing_rate import FiringRates
from spikeformers.analysis.parts_tree import parts_tree
from spikeformers.analysis.profile import Profile, profile

__all__ = [
    "CONVENTIONS", "Convention", "Costs", "Energy", "FiringRates", "Profile", "Speed", "bare_products", "bench",
    "parts_tree", "profile",
]  # fmt: skip
