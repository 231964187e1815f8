"""A table of models with scores, operations and energy, one row per model."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from spikeformers.analysis.energy import CONVENTIONS, HOROWITZ, Costs
from spikeformers.analysis.memory_energy import MEMORY, Memory
from spikeformers.analysis.profile import profile
from spikeformers.models import SpikingTransformer, describe_model, list_models
from spikeformers.models.measure import MEASURES


def energy_row(
    name: str,
    model: SpikingTransformer,
    batches: Iterable[Any],
    settings: Mapping[str, Any] | None = None,
    costs: Costs = HOROWITZ,
    memory: Memory = MEMORY,
) -> dict[str, Any]:
    """A model's row: its score, if known, operations and energy per input, and those of its dense twin.

    `settings` are those of its checkpoint. `measure` says what the score is. A classifier's accuracy is `top1`, and
    `top1_of` is `test` for the run's own, `published`, or None; so it is with a detector's `map50` or a segmenter's
    `miou`.
    """
    found = profile(model, batches, costs=costs, memory=memory, name=name)
    measure = MEASURES[model.task]
    score, source = (settings or {}).get("test", {}).get(measure.field), "test"
    size = model.config.get("name")
    if score is None and not settings and size in list_models():
        score, source = describe_model(str(size))["top1"], "published"
    products = [layer.macs for layer in found.layers if layer.op in ("convolution", "linear", "product")]
    row: dict[str, Any] = {
        "model": name,
        "parameters": sum(p.numel() for p in model.parameters()),
        "measure": measure.name,
        measure.field: score,
        f"{measure.field}_of": None if score is None else source,
        "images": found.samples,
        "steps": found.steps,
        "flops": sum(products) // found.samples,
        "uncounted": " ".join(found.uncounted),
    }
    for convention in CONVENTIONS:
        total = found.total(convention)
        row |= {f"ac_{convention}": total.ac, f"mac_{convention}": total.mac, f"mj_{convention}": total.millijoules}
    return row | {f"twin_{key}": value for key, value in (found.twin.describe() if found.twin else {}).items()}


def to_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as CSV."""
    table = io.StringIO()
    fields = dict.fromkeys(key for row in rows for key in row)
    writer = csv.DictWriter(table, list(fields), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return table.getvalue()
