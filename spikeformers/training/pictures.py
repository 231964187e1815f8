"""Figures of a run: its curves, and test images with the model's predictions."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from spikeformers.analysis.report_kit.figures import GREEN, RED, save
from spikeformers.models.measure import MEASURES
from spikeformers.training.loaders import AUGMENTS
from spikeformers.training.metrics_table import read_metrics
from spikeformers.training.recipe import Recipe

_SCORES = {measure.column: f"{measure.name}, %" for measure in MEASURES.values()}


def draw_curves(metrics: Path, file: Path, title: str, recipe: Recipe) -> None:
    """Draws loss, accuracy and firing rate by epoch, from a run's `metrics.csv`.

    The legend names the settings of the recipe that make training numbers differ from validation numbers.
    """
    rows = read_metrics(metrics)
    columns = list(rows[0]) if rows else []

    def curve(column: str) -> tuple[list[int], list[float]]:
        there = [(int(row["epoch"]), float(row[column])) for row in rows if row.get(column)]
        return [epoch for epoch, _ in there], [value for _, value in there]

    figure = Figure(figsize=(12, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    losses, accuracies, firing = figure.subplots(1, 3)
    labels = {"val_": "validation", "test_": "test, not used for selection"}
    scored = next((name for name in _SCORES if f"val_{name}" in columns or f"test_{name}" in columns), "acc")
    for axis, what, training in ((losses, "loss", _loss_differs(recipe)), (accuracies, scored, _images_differ(recipe))):
        of_training = "training" + (", of " + ",\nof ".join(training) if training else "")
        for prefix, label in {"": of_training, **labels}.items():
            if prefix + what in columns:
                axis.plot(*curve(prefix + what), label=label, marker="." if len(rows) < 20 else None)
        if axis.lines:
            axis.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), fontsize=8)  # above: labels are long
    blocks = [column for column in columns if column.startswith("firing/")]
    for i, column in enumerate(blocks):
        shade = 0.15 + 0.7 * i / max(len(blocks) - 1, 1)
        firing.plot(*curve(column), label=column.removeprefix("firing/"), color=(0.1, shade, 0.65))
    if blocks:
        wide = 1 + (len(blocks) - 1) // 16
        firing.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8, ncols=wide)
    firing.set_ylim(bottom=0)
    loss = "cross-entropy" if "acc" in columns else "loss"
    for axis, name in ((losses, loss), (accuracies, _SCORES[scored]), (firing, "firing rate")):
        axis.set_ylabel(name)
        axis.set_xlabel("epoch")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title)
    save(figure, file, dpi=120)


def _loss_differs(recipe: Recipe) -> list[str]:
    """Why training and validation losses are not comparable, in words."""
    words = ["smoothed labels"] if recipe.label_smoothing else []
    words += ["every step (TET)"] if recipe.loss.name == "tet" else []
    words += ["a teacher"] if recipe.distill.teacher else []
    words += ["firing rates"] if recipe.loss.firing_weight else []
    return words + _images_differ(recipe)


def _images_differ(recipe: Recipe) -> list[str]:
    """What is done to training images or clips but not to those of validation, in words."""
    augment = recipe.augment
    changed = augment.changed() & AUGMENTS
    details = {name for name in changed if name.rpartition("_")[0] in AUGMENTS}
    words = ["augmented"] if changed - details else []  # a detail alone, `x_detail`, changes nothing
    words += ["mixed"] if augment.mixup or augment.cutmix else []
    return [f"{', '.join(words)} images"] if words else []


def draw_predictions(
    images: Sequence[Image.Image],
    truths: Sequence[str],
    predictions: Sequence[tuple[str, float]],
    file: Path,
    title: str,
) -> None:
    """Draws a grid of images, each titled with its true label, the predicted label and its confidence."""
    across = 8
    down = -(-len(images) // across)
    figure = Figure(figsize=(1.55 * across, 1.95 * down + 0.5), layout="constrained")
    FigureCanvasAgg(figure)
    without_ticks = {"xticks": [], "yticks": []}  # each would be laid out three times
    axes = list(figure.subplots(down, across, squeeze=False, subplot_kw=without_ticks).flat)
    for axis in axes:
        axis.axis("off")
    for axis, image, truth, (label, confidence) in zip(axes, images, truths, predictions, strict=False):
        axis.imshow(image, cmap="gray", interpolation="nearest")
        axis.set_title(
            f"true {_short(truth)}\npredicted {_short(label)}, {confidence:.0%}",
            fontsize=9,
            color=GREEN if label == truth else RED,
        )
    figure.suptitle(title)
    save(figure, file, dpi=120)


def _short(name: str, most: int = 14) -> str:
    """A name on one line, cut to fit above an image."""
    name = " ".join(name.split())
    return name if len(name) <= most else f"{name[: most - 1]}…"
