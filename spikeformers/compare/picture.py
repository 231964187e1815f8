"""The figure of scores against energy, with the front that no variant beats by more than chance."""

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from spikeformers.analysis.report_kit.figures import AMBER, BLUE, FONT, GREY, name_axes, new_chart, save
from spikeformers.analysis.report_kit.units import unit_of

_Point = tuple[str, float, float, float, float]  # name, x, y, and the lengths of the bars


def draw_front(rows: Sequence[Any], file: Path, measure: str = "accuracy") -> None:
    """Draws validation scores, named by `measure`, against energy, with both spreads, the front, and test scores."""
    figure, axis = new_chart(4.0)
    unit, size = unit_of([row.millijoules for row in rows])
    front = sorted((row for row in rows if row.on_front), key=lambda row: row.millijoules)
    if front:
        axis.plot([row.millijoules / size for row in front], [row.validation for row in front], color=BLUE,
                  linewidth=1.2, marker="o", markersize=9, fillstyle="none", label="front (*)", zorder=1)  # fmt: skip
    energy, off_energy = ([_known(getattr(row, key)) / size for row in rows] for key in _ENERGY)
    validation, off = ([_known(getattr(row, key)) for row in rows] for key in _VALIDATION)
    axis.errorbar(energy, validation, off, off_energy, fmt="o", color=BLUE, markersize=5, elinewidth=0.8, capsize=2,
                  label="validation, ± deviation over seeds")  # fmt: skip
    tests = [row.test for row in rows]
    axis.scatter(
        energy, tests, marker="D", s=18, facecolors="none", edgecolors=AMBER, label="test, not used for selection"
    )
    axis.ticklabel_format(useOffset=False)
    axis.margins(x=0.18, y=0.12)
    spans = [[middle + side * wide for middle, wide in zip(*pair, strict=True) for side in (-1, 1)]
             for pair in ((energy, off_energy), (validation, off))]  # fmt: skip
    name_axes(axis, (f"energy per image, {unit} (strict)", spans[0]), (f"{measure}, %", [*spans[1], *tests]))
    figure.legend(loc="outside upper center", ncols=1, frameon=False, labelcolor=GREY, fontsize=FONT - 1)
    names = [row.variant for row in rows]
    _name(figure, axis, [*zip(names, energy, validation, off_energy, off, strict=True)])
    save(figure, file)


_ENERGY, _VALIDATION = ("millijoules", "millijoules_spread"), ("validation", "validation_spread")


def _known(number: float) -> float:
    """The spread, 0 for a single seed, which has none."""
    return 0.0 if math.isnan(number) else number


def _name(figure: Figure, axis: Any, points: Sequence[_Point]) -> None:
    """Writes names beside points, from the top down, each as close as possible without overlapping earlier names and,
    if possible, bars.
    """
    figure.draw_without_rendering()  # fixes positions
    bars = [bar for point in points for bar in _bars_of(axis, *point[1:])]
    taken: list[Bbox] = []
    for name, x, y, *_ in sorted(points, key=lambda point: -point[2]):
        spots = (_written(axis, name, x, y, free_of) for free_of in ([*bars, *taken], taken, []))
        taken.append(next(spot for spot in spots if spot is not None))


def _written(axis: Any, name: str, x: float, y: float, free_of: Sequence[Bbox]) -> Bbox | None:
    """Writes a name and returns its box, or None if there is no room beside, above or below its point."""
    inside = axis.get_window_extent()
    for low, at in itertools.product(sorted(range(-160, 164, 4), key=lambda low: abs(low - 4)), (7, -7)):
        text = axis.annotate(name, (x, y), (at, low), textcoords="offset points", fontsize=FONT - 1, color=GREY)
        text.set_horizontalalignment("left" if at > 0 else "right")
        box = text.get_window_extent()
        fits = inside.x0 <= box.x0 and box.x1 <= inside.x1 and inside.y0 <= box.y0
        if (fits or not free_of) and not any(box.overlaps(other) for other in free_of):
            if abs(low - 4) > 16:  # draw a line to the point
                line = {"arrowstyle": "-", "color": GREY, "linewidth": 0.5}
                axis.annotate("", (x, y), (at, low + 3), textcoords="offset points", arrowprops=line)
            return box
        text.remove()
    return None


def _bars_of(axis: Any, x: float, y: float, off_x: float, off_y: float) -> list[Bbox]:
    """Boxes of the bars through a point, in pixels."""
    left, low = axis.transData.transform((x - off_x, y - off_y))
    right, high = axis.transData.transform((x + off_x, y + off_y))
    middle, level = axis.transData.transform((x, y))
    wide = 4.0
    return [Bbox([[left - wide, level - wide], [right + wide, level + wide]]),
            Bbox([[middle - wide, low - wide], [middle + wide, high + wide]])]  # fmt: skip
