"""Fair comparisons: every combination of parts is trained alike over several seeds, and a report tests differences.

`compare` runs a whole comparison, `plan_comparison` prepares one without training. plan.py defines the runs,
train_all.py trains them, and the other files evaluate results.
"""

from spikeformers.compare.base import base_recipe
from spikeformers.compare.budget import Budget
from spikeformers.compare.compare import compare, plan_comparison
from spikeformers.compare.report import Report

__all__ = ["Budget", "Report", "base_recipe", "compare", "plan_comparison"]
