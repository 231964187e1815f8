"""The test split that a model is measured on: its own, or another set's, prepared as it learnt."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset, Subset

from spikeformers.data import EventSets, ImageSets, load_sets
from spikeformers.data.settings import Data
from spikeformers.models import SpikingTransformer


class TestSet:
    """The test split of `data`, or else of the set that `settings`, a checkpoint's, were trained on.

    `who` is how errors name the model. Raises ValueError where neither names a set, and what reading it raises.
    """

    __test__ = False  # it is not a test of ours, whatever its name

    def __init__(
        self,
        who: str,
        settings: Mapping[str, Any],
        data: str | None = None,
        *,
        root: str | Path | None = None,
        workers: int = 2,
        skip_broken: bool = False,
    ):
        self.who, self.settings = who, settings
        trained_on = settings.get("recipe", {}).get("data", {})
        name = data or trained_on.get("name")
        if name is None:
            raise ValueError(f"{who} does not say what it was trained on: give --data, a set's name or a folder")
        asked = {"name": name, "skip_broken": skip_broken, "workers": workers} | ({"root": str(root)} if root else {})
        self.reading = {**asdict(Data()), **trained_on, **asked}
        if name != trained_on.get("name"):  # its own split, and not that of what it was trained on
            self.reading |= {key: getattr(Data(), key) for key in ("test", "split_seed")}
        # A sensor that the model knows is not looked for.
        self.reading["sensor"] = (settings.get("preprocess") or {}).get("sensor")
        if self.reading["cache"] and not Path(self.reading["cache"]).is_dir():  # it was trained elsewhere
            self.reading["cache"] = Data().cache
        self.sets: ImageSets | EventSets = load_sets(self.reading, seed=0, validation=0)

    def prepared(
        self, model: SpikingTransformer, only: list[int] | None = None, *, other_classes: bool = False
    ) -> Dataset:
        """Its items, or `only` some, as the model takes them: `[C, H, W]` or `[T, C, H, W]`, and a label.

        With `other_classes` the labels need not be the model's: nothing is made of its answers. Raises ValueError
        where classes, channels or the kind of data are not the model's.
        """
        sets, who, settings = self.sets, self.who, self.settings
        preprocess = settings.get("preprocess") or sets.preprocess(
            self.reading, image_size=model.image_size, time_steps=model.time_steps
        )
        learnt = "recordings" if "frames_by" in preprocess else "images"
        if learnt != sets.kind:
            raise ValueError(f"{sets.name} has {sets.kind}, and {who} learnt from {learnt}: give others by --data")
        if len(sets.classes) != model.num_classes and not other_classes:
            raise ValueError(
                f"{sets.name} has {len(sets.classes)} classes, and the model tells {model.num_classes} apart"
            )
        known = sets.classes if other_classes else settings.get("classes") or sets.classes
        for label, learnt in zip(sets.classes, known, strict=True):
            if label != learnt:
                raise ValueError(f"{sets.name} has the class {label!r} where {who} learnt {learnt!r}: rename it")
        if sets.channels != model.in_channels:
            raise ValueError(
                f"{sets.name} has {sets.kind} of {sets.channels} channels, and the model takes {model.in_channels}"
            )
        if "time_steps" in preprocess:
            preprocess = {**preprocess, "time_steps": model.time_steps}
        test: Any = sets.test
        return sets.prepared(test if only is None else Subset(test, only), preprocess, self.reading)
