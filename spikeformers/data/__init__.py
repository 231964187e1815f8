"""Labelled images and event recordings: sets by name or folder, their transforms, and replayable sampling.

Labels are classes, or boxes or masks (`DenseSets`).

An item of a set is (PIL image or `Recording`, label); `Augmented` applies a transform and returns ([C, H, W] or
[T, C, H, W] tensor, label), so a batch is [B, C, H, W] or [B, T, C, H, W]. Importing this imports none of them: torch,
torchvision, timm, scikit-learn and evlib are imported on first use.
"""

from typing import TYPE_CHECKING

from spikeformers.lazy import lazy_names

if TYPE_CHECKING:
    from .dense.boxes import Boxes
    from .dense.sets import DenseSets
    from .events import EventSets, known_event_sets, load_events
    from .images import ImageSets, known_image_sets, load_images
    from .inputs import input_files, input_reader
    from .sampling import Augmented, EpochSampler
    from .sets import known_sets, load_sets
    from .transforms import eval_transform, train_transform

__all__ = [
    "Augmented", "Boxes", "DenseSets", "EpochSampler", "EventSets", "ImageSets", "eval_transform", "input_files",
    "input_reader", "known_event_sets", "known_image_sets", "known_sets", "load_events", "load_images", "load_sets",
    "train_transform",
]  # fmt: skip

__getattr__ = lazy_names(
    __name__,
    {
        "Boxes": "dense.boxes",
        "DenseSets": "dense.sets",
        **dict.fromkeys(("EventSets", "known_event_sets", "load_events"), "events"),
        **dict.fromkeys(("ImageSets", "known_image_sets", "load_images"), "images"),
        **dict.fromkeys(("input_files", "input_reader"), "inputs"),
        **dict.fromkeys(("Augmented", "EpochSampler"), "sampling"),
        **dict.fromkeys(("known_sets", "load_sets"), "sets"),
        **dict.fromkeys(("eval_transform", "train_transform"), "transforms"),
    },
)
