"""Writing a report: a page, a figure, Markdown, tables in CSV, and everything in JSON."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spikeformers.analysis.report_kit.page import render_page
from spikeformers.compare.picture import draw_front
from spikeformers.compare.report import Report

JSON, TEXT, RUNS, VARIANTS, PICTURE = "report.json", "report.md", "runs.csv", "variants.csv", "pareto.svg"


def _caption(report: Report) -> str:
    return (
        f"Scores ({report.measure}) and energy are means over seeds with their standard deviation. The first variant "
        f"comes first, the others follow by validation {report.measure}. Validation {report.chosen_by} chose each "
        "run's epoch; the test set was read once, at the end of each run. Operations and energy are per image, counted "
        "on validation images by the strict convention. Images per second and the memory of a training step were "
        "measured before training, with one run's share of the processor. "
    ) + report.marks


def write_report(report: Report) -> None:
    """Writes a report to its folder."""
    described = report.describe()
    (report.folder / JSON).write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
    rows = [{**row, "model": json.dumps(row["model"])} for row in described["rows"]]
    _write_csv(report.folder / VARIANTS, rows)
    flat = [
        {**one, "millijoules": one["millijoules"]["strict"], "uncounted": " ".join(one["uncounted"])}
        for one in described["outcomes"]
    ]
    _write_csv(report.folder / RUNS, flat)
    draw_front(report.rows, report.folder / PICTURE, report.measure)
    (report.folder / TEXT).write_text(_markdown(report), encoding="utf-8")
    report.page.write_text(_html(report), encoding="utf-8")


def _write_csv(file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with file.open("w", newline="", encoding="utf-8") as table:
        writer = csv.DictWriter(table, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _markdown(report: Report) -> str:
    """The table and notes as Markdown."""
    table = report.table()
    lines = [list(table[0]), ["---", *["--:"] * (len(table[0]) - 1)], *(list(row.values()) for row in table)]
    text = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    failed = [f"{run} failed: {why}" for run, why in report.failed.items()]
    notes = "\n".join(f"- {note}" for note in (*report.notes, *failed))
    return f"{text}\n\n{_caption(report)}\n\n{notes}\n"


def _html(report: Report) -> str:
    import yaml

    return render_page(
        Path(__file__).with_name("page.html"),
        report.folder,
        report=report,
        rows=report.table(),
        caption=_caption(report),
        picture=PICTURE,
        settings=yaml.safe_dump(report.base, sort_keys=False),
    )
