"""Figures of reports, fit for a paper: readable on white paper, on a dark screen and on a phone."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

GREY, BLUE, RED, AMBER, GREEN = "#808080", "#3b82c4", "#d1495b", "#d9902f", "#2f9e5f"
WIDTH, FONT = 4.4, 9  # inches and points: a phone shows this width almost unscaled


def new_chart(height: float) -> tuple[Figure, Axes]:
    """A figure with one pair of axes."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    style_axis(axis, "right")
    return figure, axis


def style_axis(axis: Axes, without: str) -> None:
    """Grey axes, without those at the top and at the side `without`."""
    axis.spines[["top", without]].set_visible(False)
    for spine in axis.spines.values():
        spine.set_color(GREY)
    axis.tick_params(colors=GREY, labelsize=FONT)
    for label in (axis.xaxis.label, axis.yaxis.label):
        label.set(color=GREY, fontsize=FONT)


def name_axes(axis: Axes, x: tuple[str, Iterable[float]], y: tuple[str, Iterable[float]]) -> None:
    """Labels both axes, given the values on each. An axis starts at 0, or is marked as broken and labelled so."""
    for which, (name, values) in {"x": x, "y": y}.items():
        known = [value for value in values if math.isfinite(value)]
        low, high = min(known), max(known)
        broken = low > 0 and high - low < 0.4 * high
        axis.set(**{f"{which}label": f"{name}, axis not from 0" if broken else name})
        if broken:
            for place in (0.03, 0.05):
                at = (place, 0.0) if which == "x" else (0.0, place)
                marker = [(-0.5, -1), (0.5, 1)] if which == "x" else [(-1, -0.5), (1, 0.5)]
                axis.plot(*at, marker=marker, markersize=9, color=GREY, transform=axis.transAxes, clip_on=False)
        elif low >= 0:
            axis.set(**{f"{which}lim": (0, None)})


def as_written(figure: Figure) -> None:
    """Turns off formulas in all text of a figure: the name of a class may contain a dollar sign."""
    for text in figure.findobj(Text):
        text.set_parse_math(False)  # pyright: ignore[reportAttributeAccessIssue]


def save(figure: Figure, file: Path, **how: Any) -> None:
    """Writes a figure. Equal figures give identical files."""
    as_written(figure)
    if file.suffix == ".svg":
        how = {"transparent": True, "metadata": dict.fromkeys(("Creator", "Date", "Format", "Type")), **how}
    with rc_context({"svg.hashsalt": "spikeformers"}):
        figure.savefig(file, **how)
