"""A labelled set by name or folder, of images or of event recordings."""

import difflib
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from .events import EventSets, known_event_sets, load_events
from .events.folder import class_folders, endings, files_in, find_splits
from .events.recording import EXTENSIONS, is_recording
from .events.windows import window_of
from .folders import EXTENSIONS as IMAGES
from .hugging_face import PREFIX
from .images import ImageSets, known_image_sets, load_images, tell_which_is_meant
from .readable import Readable
from .shards import holds_shards

_BESIDE_IMAGES = (".mat", ".txt", ".csv", ".dat")  # files of these names may say something of images, too

_Sets = TypeVar("_Sets", ImageSets, EventSets)


def known_sets() -> tuple[str, ...]:
    """The names that `load_sets` knows; it takes any other for a folder."""
    return (*known_image_sets(), *known_event_sets())


def load_sets(settings: Mapping[str, Any], *, seed: int, validation: float | None = None) -> ImageSets | EventSets:
    """The set that a recipe's settings of data name; a folder is of what the first class with any holds.

    Both kinds have `name train validation test classes channels`, and make tensors of their splits: `preprocess`,
    `prepared` and `augmented`. With `skip_broken` images that break later are left out too. Raises what `load_images`
    and `load_events` raise.
    """
    name = settings["name"]
    how: dict[str, Any] = {"root": settings["root"], "seed": seed}
    how["validation"] = settings["validation"] if validation is None else validation
    folder = Path(name).expanduser()
    if name not in known_sets() and not folder.is_dir() and not name.startswith(PREFIX):
        close = difflib.get_close_matches(name.lower(), known_sets())
        remedy = f"did you mean {' or '.join(close)}?" if close else f"known are {', '.join(known_sets())}"
        raise FileNotFoundError(f"{name!r} is no folder and no known set; {remedy}")
    if name in known_event_sets() or (name not in known_image_sets() and folder.is_dir() and _holds_recordings(folder)):
        how["workers"] = settings["workers"]
        asked = {key: settings[key] for key in ("channels", "sensor", "test", "split_seed") if key in settings}
        tell_which_is_meant(name, known_event_sets())
        return _told_if_alone(load_events(name, **how, **asked, window=window_of(settings)))
    images = _told_if_alone(load_images(name, **how, skip_broken=settings["skip_broken"]))
    if not settings["skip_broken"]:
        return images
    return replace(
        images,
        train=Readable(images.train),
        validation=Readable(images.validation, counted=False),
        test=Readable(images.test, counted=False),
    )


def _holds_recordings(folder: Path) -> bool:
    """Whether the first class folder that has recordings or images has the former; of train, where there is one.

    Raises FileNotFoundError where all have files and none is either.
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


def _told_if_alone(sets: _Sets) -> _Sets:
    if len(sets.classes) == 1:  # enough to learn without labels
        logging.getLogger("spikeformers").warning(
            "%s has one class, %s: there is nothing to tell it from, and any accuracy is 100 %%",
            sets.name, sets.classes[0],
        )  # fmt: skip
    return sets
