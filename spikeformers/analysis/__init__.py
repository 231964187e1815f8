"""Analysing models from outside: hooks observe operations and spikes, so `forward` contains no code for it."""

from spikeformers.analysis.anytime import Anytime, anytime
from spikeformers.analysis.attention_map import AttentionMap, attention_maps, relevance
from spikeformers.analysis.bench import Speed, bare_products, bench
from spikeformers.analysis.energy import CONVENTIONS, Convention, Costs, Energy
from spikeformers.analysis.firing_advice import firing_advice
from spikeformers.analysis.firing_rate import FiringRates
from spikeformers.analysis.memory_energy import MEMORY, Memory, Twin
from spikeformers.analysis.model_audit.audit_model import audit_model
from spikeformers.analysis.model_audit.result import Check, Found, ModelAudit
from spikeformers.analysis.parts_tree import parts_tree
from spikeformers.analysis.profile import Profile, profile
from spikeformers.analysis.spike_audit import Finding, audit, verdict

__all__ = [
    "CONVENTIONS", "MEMORY", "Anytime", "AttentionMap", "Check", "Convention", "Costs", "Energy", "Finding",
    "FiringRates", "Found", "Memory", "ModelAudit", "Profile", "Speed", "Twin", "anytime", "attention_maps", "audit",
    "audit_model", "bare_products", "bench", "firing_advice", "parts_tree", "profile", "relevance", "verdict",
]  # fmt: skip
