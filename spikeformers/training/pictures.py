"""What a run leaves to look at: its curves, and test images with what the model says of them."""

import csv
from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

RIGHT, WRONG = "#1a7f37", "#c0392b"


def draw_curves(metrics: Path, file: Path, title: str) -> None:
    """Loss, accuracy and firing rate by epoch, from a run's `metrics.csv`."""
    with metrics.open(newline="") as table:
        rows = list(csv.DictReader(table))
    columns = list(rows[0]) if rows else []

    def curve(column: str) -> tuple[list[int], list[float]]:
        there = [(int(row["epoch"]) + 1, float(row[column])) for row in rows if row.get(column)]
        return [epoch for epoch, _ in there], [value for _, value in there]

    figure = Figure(figsize=(12, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    losses, accuracies, firing = figure.subplots(1, 3)
    labels = {"": "training", "val_": "validation", "test_": "test, which chose nothing"}
    for axis, what in ((losses, "loss"), (accuracies, "acc")):
        for prefix, label in labels.items():
            if prefix + what in columns:
                axis.plot(*curve(prefix + what), label=label, marker="." if len(rows) < 20 else None)
        if axis.lines:
            axis.legend(frameon=False)
    blocks = [column for column in columns if column.startswith("firing/")]
    for i, column in enumerate(blocks):
        shade = 0.15 + 0.7 * i / max(len(blocks) - 1, 1)
        firing.plot(*curve(column), label=column.removeprefix("firing/"), color=(0.1, shade, 0.65))
    if blocks:
        firing.legend(frameon=False, ncols=1 + len(blocks) // 7)
    firing.set_ylim(bottom=0)
    for axis, name in ((losses, "cross-entropy"), (accuracies, "accuracy, %"), (firing, "firing rate")):
        axis.set_ylabel(name)
        axis.set_xlabel("epoch")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title)
    figure.savefig(file, dpi=120)


def draw_predictions(
    images: Sequence[Image.Image],
    truths: Sequence[str],
    predictions: Sequence[tuple[str, float]],
    file: Path,
    title: str,
) -> None:
    """A grid of images, each under its true label, the predicted one and the confidence in it."""
    across = 8
    down = -(-len(images) // across)
    figure = Figure(figsize=(1.55 * across, 1.95 * down + 0.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(down, across, squeeze=False).flat)
    for axis in axes:
        axis.axis("off")
    for axis, image, truth, (said, confidence) in zip(axes, images, truths, predictions, strict=False):
        axis.imshow(image, cmap="gray", interpolation="nearest")
        axis.set_title(
            f"true {truth}\nsays {said}, {confidence:.0%}", fontsize=9, color=RIGHT if said == truth else WRONG
        )
    figure.suptitle(title)
    figure.savefig(file, dpi=120)
