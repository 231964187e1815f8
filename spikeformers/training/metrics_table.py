"""Reading a run's `metrics.csv`, one row per epoch."""

import csv
from pathlib import Path


def read_metrics(file: Path) -> list[dict[str, str]]:
    """The rows written so far. `epoch` counts from 1; tables from before 0.4, which count from 0, are converted."""
    if not file.is_file():
        return []
    with file.open(newline="") as table:
        rows = list(csv.DictReader(table))
    if rows and rows[0]["epoch"] == "0":
        return [{**row, "epoch": str(int(row["epoch"]) + 1)} for row in rows]
    return rows
