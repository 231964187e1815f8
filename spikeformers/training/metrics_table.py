"""A run's `metrics.csv`, a row an epoch."""

import csv
from pathlib import Path


def read_metrics(file: Path) -> list[dict[str, str]]:
    """The rows of a run so far, none where it has no table yet; `epoch` counts from 1, as it did not before 0.4."""
    if not file.is_file():
        return []
    with file.open(newline="") as table:
        rows = list(csv.DictReader(table))
    if rows and rows[0]["epoch"] == "0":
        return [{**row, "epoch": str(int(row["epoch"]) + 1)} for row in rows]
    return rows
