"""What is said of a set with boxes or masks before it is used."""

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch.utils.data import Subset

from ..image_dataset import item_at
from ..image_file import IN_A_SET
from ..readable import Readable

_logger = logging.getLogger("spikeformers")


def say_turned(name: str, split: Any) -> None:
    """Logs images whose EXIF tag leaves it open on which picture their label was made."""
    places = [item_at(split, i) for i in range(len(split))]
    if turned := [images.paths[i] for images, i in places if i in getattr(images, "turned", ())]:
        _logger.warning(
            "%d of %d images of %s are rotated by their EXIF tag, and their boxes or masks are assumed to fit the "
            "image as a viewer shows it; the first is %s: if they do not, remove the tag from the files",
            len(turned), len(places), name, turned[0],
        )  # fmt: skip


def say_shared(name: str, splits: Mapping[str, Any]) -> None:
    """Logs images of another split that are for training too, as where train.txt is a copy of trainval.txt."""
    trained = {*splits["train"].paths}
    for split, images in splits.items():
        if split != "train" and (shared := [path for path in images.paths if path in trained]):
            _logger.warning(
                "%d of %d %s images of %s are also for training, so its score says little; the first is %s: list each "
                "image once", len(shared), len(images), split, name, shared[0],
            )  # fmt: skip


def with_outlines(name: str, split: Any, settings: Mapping[str, Any]) -> Any:
    """The images of a split whose outlines can all be read. Raises ValueError for others, unless they are skipped."""
    broken: dict[int, str] = {}
    for i, (images, at) in ((i, item_at(split, i)) for i in range(len(split))):
        try:
            images.targets[at].parsed()
        except ValueError as error:
            broken[i] = f"{images.paths[at]}: {error}"
    if not broken:
        return split
    first, more = next(iter(broken.values())), f"{len(broken)} of {len(split)} images have such outlines"
    if not settings.get("skip_broken"):
        raise ValueError(f"{first}; {more}; {IN_A_SET}")
    if len(broken) == len(split):
        raise ValueError(f"{first}; {more}, which leaves none: correct some")
    _logger.warning("skipped %d of %d images of %s, the first: %s", len(broken), len(split), name, first)
    kept = [i for i in range(len(split)) if i not in broken]
    if isinstance(split, Readable):
        return Readable(Subset(split.dataset, kept), counted=split.counted)
    return Subset(split, kept)


def count_boxes(name: str, splits: Mapping[str, Any], classes: tuple[str, ...]) -> None:
    """Logs images without boxes, and classes without a box for training."""
    for split, items in splits.items():
        empty = [i for i, boxes in enumerate(items.targets) if not len(boxes)]
        if empty:
            _logger.warning(
                "%d of %d %s items of %s have no boxes, the first is %s: they stay as background; data.skip_empty true "
                "leaves them out of training", len(empty), len(items), split, name, _name_of(items, empty[0]),
            )  # fmt: skip
    labels = [boxes.labels for boxes in splits["train"].targets] or [np.zeros(0, int)]
    seen = np.bincount(np.concatenate(labels), minlength=len(classes))
    if unseen := [label for label, count in zip(classes, seen, strict=True) if not count]:
        _logger.warning(
            "%s has no training box of %d of its %d classes, the first is %s",
            name,
            len(unseen),
            len(classes),
            unseen[0],
        )


def _name_of(items: Any, index: int) -> str:
    dataset, index = item_at(items, index)
    return dataset.name_of(index) if hasattr(dataset, "name_of") else dataset.items[index][0].path
