"""A labelled set by name or folder, of images or of event recordings."""

import difflib
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from .events import EventSets, known_event_sets, load_events
from .events.folder import holds_recordings
from .hugging_face import PREFIX
from .images import ImageSets, known_image_sets, load_images, tell_which_is_meant
from .readable import Readable

_Sets = TypeVar("_Sets", ImageSets, EventSets)


def known_sets() -> tuple[str, ...]:
    """The names that `load_sets` knows; it takes any other for a folder."""
    return (*known_image_sets(), *known_event_sets())


def load_sets(settings: Mapping[str, Any], *, seed: int, validation: float | None = None) -> ImageSets | EventSets:
    """The set that a recipe's settings of data name; a folder is one of recordings if its first class holds any.

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
    if name in known_event_sets() or (name not in known_image_sets() and folder.is_dir() and holds_recordings(folder)):
        how["workers"] = settings["workers"]
        asked = {key: settings[key] for key in ("channels", "sensor", "test", "split_seed") if key in settings}
        tell_which_is_meant(name, known_event_sets())
        return _told_if_alone(load_events(name, **how, **asked))
    images = _told_if_alone(load_images(name, **how, skip_broken=settings["skip_broken"]))
    if not settings["skip_broken"]:
        return images
    return replace(
        images,
        train=Readable(images.train),
        validation=Readable(images.validation, counted=False),
        test=Readable(images.test, counted=False),
    )


def _told_if_alone(sets: _Sets) -> _Sets:
    if len(sets.classes) == 1:  # enough to learn without labels
        logging.getLogger("spikeformers").warning(
            "%s has one class, %s: there is nothing to tell it from, and any accuracy is 100 %%",
            sets.name, sets.classes[0],
        )  # fmt: skip
    return sets
