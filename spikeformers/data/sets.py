"""A labelled set by name or folder: of images, of event recordings, or of either with boxes or masks."""

import difflib
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from .dense.sets import DenseSets, dense_layout, known_dense_sets, load_dense
from .events import EventSets, known_event_sets, load_events
from .events.folder import class_folders, endings, files_in, find_splits
from .events.recording import EXTENSIONS, is_recording
from .events.windows import window_of
from .folders import EXTENSIONS as IMAGES
from .hugging_face import PREFIX
from .images import ImageSets, known_image_sets, load_images, warn_of_folder
from .readable import Readable
from .shards import holds_shards

_BESIDE_IMAGES = (".mat", ".txt", ".csv", ".dat")  # files that may also accompany images

Sets = ImageSets | EventSets | DenseSets
_Sets = TypeVar("_Sets", ImageSets, EventSets)


def known_sets() -> tuple[str, ...]:
    """The names that `load_sets` knows; any other name is a folder."""
    return (*known_image_sets(), *known_event_sets(), *known_dense_sets())


def load_sets(settings: Mapping[str, Any], *, seed: int, validation: float | None = None) -> Sets:
    """The set that a recipe's `data:` settings name. A folder with boxes or masks is known by its layout; otherwise the
    first class folder with files decides between images and recordings.

    All kinds have `name train validation test classes channels`, and turn their splits into tensors with
    `preprocess`, `prepared` and `augmented`.

    Args:
        settings: The fields of `spikeformers.data.settings.Data`. With `skip_broken`, images that break during a run
            are skipped too.
        seed: Draws the validation share.
        validation: The share of every class held out from training, in place of the settings' own.

    Returns:
        The set's three splits.

    Raises:
        FileNotFoundError: The set or some of its files are missing.
        ValueError: A share or the classes are wrong.
    """
    name = settings["name"]
    how: dict[str, Any] = {"root": settings["root"], "seed": seed}
    how["validation"] = settings["validation"] if validation is None else validation
    folder = Path(name).expanduser()
    if name not in known_sets() and not folder.is_dir() and not name.startswith(PREFIX):
        close = difflib.get_close_matches(name.lower(), known_sets())
        remedy = f"did you mean {' or '.join(close)}?" if close else f"known are {', '.join(known_sets())}"
        raise FileNotFoundError(f"{name!r} is neither a folder nor a known set; {remedy}")
    if name in known_dense_sets() or (name not in known_sets() and dense_layout(folder)):
        warn_of_folder(name, known_dense_sets())
        return load_dense(name, settings, seed=seed, validation=how["validation"])
    if name in known_event_sets() or (name not in known_image_sets() and folder.is_dir() and _holds_recordings(folder)):
        how["workers"] = settings["workers"]
        only_events = {key: settings[key] for key in ("channels", "sensor", "test", "split_seed") if key in settings}
        warn_of_folder(name, known_event_sets())
        return _warn_of_one_class(load_events(name, **how, **only_events, window=window_of(settings)))
    images = _warn_of_one_class(load_images(name, **how, skip_broken=settings["skip_broken"]))
    if not settings["skip_broken"]:
        return images
    return replace(
        images,
        train=Readable(images.train),
        validation=Readable(images.validation, counted=False),
        test=Readable(images.test, counted=False),
    )


def _holds_recordings(folder: Path) -> bool:
    """Whether the first class folder with recordings or images (in `train`, if there is one) has recordings.

    Raises FileNotFoundError if the class folders hold only other files.
    """
    if holds_shards(folder):
        return False
    seen = []
    for entry in class_folders(find_splits(folder).get("train", folder)):
        files = files_in(entry)
        recordings = [file for file in files if is_recording(file)]
        has_images = any(file.suffix.lower() in IMAGES for file in files)
        if any(file.suffix.lower() not in _BESIDE_IMAGES for file in recordings) or (recordings and not has_images):
            return True
        if has_images:
            return False
        seen += files
    if seen:
        raise FileNotFoundError(
            f"{folder} holds neither images ({' '.join(IMAGES)}) nor recordings ({' '.join(EXTENSIONS)}), but "
            f"{endings(seen)}: convert them to one of those"
        )
    return False


def _warn_of_one_class(sets: _Sets) -> _Sets:
    if len(sets.classes) == 1:  # not an error: pre-training needs no labels
        logging.getLogger("spikeformers").warning(
            "%s has one class, %s: any accuracy will be 100 %%; add a second class to classify",
            sets.name, sets.classes[0],
        )  # fmt: skip
    return sets
