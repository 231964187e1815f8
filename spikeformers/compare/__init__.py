"""A fair comparison: every combination of parts trained alike over several seeds, and a report on what that shows.

`compare` is the whole of it, `plan_comparison` what can be known before. plan.py says what is trained, train_all.py
trains it, the rest reads what came out.
"""

from spikeformers.compare.base import base_recipe
from spikeformers.compare.budget import Budget
from spikeformers.compare.compare import compare, plan_comparison
from spikeformers.compare.report import Report

__all__ = ["Budget", "Report", "base_recipe", "compare", "plan_comparison"]
