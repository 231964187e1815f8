"""A set of event recordings, and what is made of its splits."""

import inspect
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from ..sampling import Augmented
from ..split import Split
from .clips import Clips
from .columns import Events
from .folder import Recordings
from .frames import Framing
from .prepared import PreparedFrames
from .recording import Recording
from .remarks import collected
from .transforms import augmenting_clip_transform, clip_transform


@dataclass(frozen=True)
class EventSets:
    """The three splits of a labelled set of recordings. An item is (`Recording`, label).

    `prepared` and `augmented` turn a split into clips, with items ([T, C, H, W] tensor, label).
    """

    name: str
    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...]
    channels: int  # 2: darker and brighter; 3: also their sum
    sensor: tuple[int, int]  # height, width
    framed: Framing | None = None  # how prepared frames were cut
    transposed: bool = False  # x and y of the files are swapped
    counted_in: str = "recordings"  # or "windows"
    kind: ClassVar[str] = "recordings"
    augments: ClassVar[frozenset[str]] = frozenset(inspect.signature(augmenting_clip_transform).parameters)

    def preprocess(self, settings: Mapping[str, Any], *, image_size: int, time_steps: int) -> dict[str, Any]:
        """Preprocessing by a recipe's data settings, to be stored with a model's weights.

        Raises ValueError for settings that do not apply to events.
        """
        for name in ("mean", "std"):
            if settings.get(name) is not None:
                raise ValueError(
                    f"data.{name} applies to images, but {self.name} has events, which are not normalised: leave it out"
                )
        asked = {name: list(settings[name]) for name in ("window", "window_events") if settings.get(name)}
        return {
            "image_size": image_size,
            "time_steps": time_steps,
            "frames_by": settings["frames_by"],
            "sensor": list(self.sensor),
            "channels": self.channels,
            "interpolation": settings.get("interpolation") or "bilinear",
            **({"transposed": True} if self.transposed else {}),
            **asked,
        }

    def prepared(self, split: Split, preprocess: Mapping[str, Any], settings: Mapping[str, Any]) -> Augmented:
        """A split for evaluation. `settings` give the folder for frames (`cache`) and the processes (`workers`)."""
        return Augmented(self._clips(split, preprocess, settings), clip_transform(**preprocess))

    def augmented(
        self,
        split: Split,
        preprocess: Mapping[str, Any],
        settings: Mapping[str, Any],
        augment: Mapping[str, Any],
        seed: int,
    ) -> Augmented:
        """A split for training, augmented by the settings `augment`, reproducibly for `seed` and epoch."""
        transform = augmenting_clip_transform(**preprocess, **augment)
        return Augmented(self._clips(split, preprocess, settings), transform, seed)

    def picture(self, item: Recording | PreparedFrames, events: Events | None = None) -> Image.Image:
        """All events of a recording in one picture: brighter in red, darker in blue.

        `events` are those of its whole file, if it was read already.
        """
        with collected():  # logged before
            whole = Framing("number", 1, self.sensor)
            if isinstance(item, PreparedFrames):
                frames = item.opened()
            else:
                frames = item.framed(whole, item.opened() if events is None else events)
        dark, bright = frames.astype(float).sum(0)
        off, on = (np.minimum(1, counts / max(1.0, np.quantile(counts, 0.99))) for counts in (dark, bright))
        pixels = np.stack([1 - off, 1 - np.maximum(off, on), 1 - on], -1)
        return Image.fromarray((255 * pixels).astype(np.uint8))

    def keep(self, item: Recording | PreparedFrames, file: Path) -> None:
        """Writes the events of a recording to `file`, a path without `.npz`, for `predict` to read."""
        with collected():
            item.keep(str(file))

    def _clips(self, split: Split, preprocess: Mapping[str, Any], settings: Mapping[str, Any]) -> Clips:
        how = framing(preprocess)
        if self.framed not in (None, how):
            raise ValueError(
                f"{self.name} holds frames {self.framed.name}, not {how.name}: set model.time_steps "
                f"{self.framed.time_steps} and data.frames_by {self.framed.by}, or give the recordings themselves"
            )
        turned = preprocess.get("transposed", False)
        if turned != self.transposed and not self.framed:  # the model learnt from another set than this one
            logging.getLogger("spikeformers").warning(
                "x and y of %s are %sswapped, as in the model's training", self.name, "" if turned else "not "
            )
            items = (split[i] for i in range(len(split)))
            split = Recordings([(replace(item, transposed=turned), label) for item, label in items])
        return Clips(
            split,
            how,
            cache=Path(settings["cache"]).expanduser() if settings.get("cache") and not self.framed else None,
            workers=settings.get("workers", 0),
            skip_broken=settings.get("skip_broken", False),
        )


def framing(preprocess: Mapping[str, Any]) -> Framing:
    """How clips are cut, from the preprocessing of a model."""
    return Framing(preprocess["frames_by"], preprocess["time_steps"], tuple(preprocess["sensor"]))
