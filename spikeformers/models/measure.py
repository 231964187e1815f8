"""The score that speaks for a model, by its task: what runs, comparisons, cards and figures call it."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """A score in percent.

    Attributes:
        name: What it is called: "mAP50".
        column: Its column in a run's `metrics.csv`, after the split: "map50" of `val_map50`.
        field: Its name among the test scores of `results.json`: "map50".
        guessing: From the number of classes to the score of guessing, about.
        best: The column of the score that chooses a run's epoch.
        best_name: The name of that score: "mAP".
        counts_images: Whether it is a share of images, so that one image is its smallest step.
    """

    name: str
    column: str
    field: str
    guessing: Callable[[int], float]
    best: str
    best_name: str
    counts_images: bool = False

    def grain(self, images: int) -> float:
        """The smallest difference of two scores on this many images; 0 if they may differ by anything."""
        return 100 / images if self.counts_images else 0.0


MEASURES = {  # by task
    "classification": Measure("accuracy", "acc", "top1", lambda k: 100 / k, "acc", "accuracy", counts_images=True),
    "detection": Measure("mAP50", "map50", "map50", lambda k: 1.0, "map", "mAP"),
    "segmentation": Measure("mIoU", "miou", "miou", lambda k: 100 / k, "miou", "mIoU"),
}
