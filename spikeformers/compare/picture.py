"""Accuracy against energy, with the front that no variant beats in both."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

GREY, BLUE, AMBER = "#808080", "#3b82c4", "#d9902f"  # readable on white paper and on a dark screen alike


def unit_of(millijoules: Sequence[float]) -> tuple[str, float]:
    """The unit that suits some energies, and how many mJ it is."""
    most = max(millijoules)
    return next((unit for unit in (("mJ", 1.0), ("µJ", 1e-3)) if most >= unit[1] / 10), ("nJ", 1e-6))


def draw_front(rows: Sequence[Any], file: Path) -> None:
    """Validation accuracy with its spread against energy, the front through it, and test accuracy beside it."""
    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    unit, size = unit_of([row.millijoules for row in rows])
    front = sorted((row for row in rows if row.on_front), key=lambda row: row.millijoules)
    axis.plot(
        [row.millijoules / size for row in front],
        [row.validation for row in front],
        color=BLUE,
        linewidth=1.2,
        marker="o",
        markersize=9,
        fillstyle="none",
        label="front",
        zorder=1,
    )
    energy = [row.millijoules / size for row in rows]
    spread = [0 if row.validation_spread != row.validation_spread else row.validation_spread for row in rows]
    axis.errorbar(
        energy,
        [row.validation for row in rows],
        yerr=spread,
        fmt="o",
        color=BLUE,
        markersize=5,
        elinewidth=0.8,
        capsize=2,
        label="validation, ± deviation over seeds",
    )
    axis.scatter(
        energy,
        [row.test for row in rows],
        marker="D",
        s=18,
        facecolors="none",
        edgecolors=AMBER,
        label="test, which chose nothing",
    )
    axis.set_xlabel(f"energy an image, {unit} (strict)")
    axis.set_ylabel("accuracy, %")
    axis.ticklabel_format(useOffset=False)
    axis.margins(x=0.18, y=0.12)
    axis.spines[["top", "right"]].set_visible(False)
    for spine in axis.spines.values():
        spine.set_color(GREY)
    axis.tick_params(colors=GREY)
    axis.xaxis.label.set_color(GREY)
    axis.yaxis.label.set_color(GREY)
    figure.legend(loc="outside upper center", ncols=3, frameon=False, labelcolor=GREY, fontsize=8)
    _name(figure, axis, [(row.variant, x, row.validation) for row, x in zip(rows, energy, strict=True)])
    with rc_context({"svg.hashsalt": "front"}):  # the same numbers give the same file
        figure.savefig(file, transparent=True, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))


def _name(figure: Figure, axis: Any, points: Sequence[tuple[str, float, float]]) -> None:
    """Writes names beside points, from the top down, each so low that it is on none of those before."""
    figure.draw_without_rendering()  # places are known from here on
    taken: list[Any] = []
    for name, x, y in sorted(points, key=lambda point: -point[2]):
        for low in range(4, -200, -4):
            text = axis.annotate(name, (x, y), (7, low), textcoords="offset points", fontsize=8, color=GREY)
            box = text.get_window_extent()
            if not any(box.overlaps(other) for other in taken):
                break
            text.remove()
        taken.append(box)
