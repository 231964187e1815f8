"""The test split to evaluate a model on: that of its own data set or of another, preprocessed as in its training."""

import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset, Subset

from spikeformers.data import load_sets
from spikeformers.data.inputs import stored_preprocess
from spikeformers.data.sets import Sets, known_sets
from spikeformers.data.settings import Data
from spikeformers.evaluation.dense import has_masks
from spikeformers.models import SpikingTransformer

logger = logging.getLogger("spikeformers")


class TestSet:
    """The test split of `data`, by default the set that a checkpoint with these `settings` was trained on.

    If `skip_broken` is None, broken files of the model's own set are skipped if training skipped them. Errors name the
    model `who`. Raises ValueError if neither names a set, and what reading it raises.
    """

    __test__ = False  # tells pytest that this is no test class

    def __init__(
        self,
        who: str,
        settings: Mapping[str, Any],
        data: str | None = None,
        *,
        root: str | Path | None = None,
        workers: int = 2,
        skip_broken: bool | None = None,
    ):
        self.who, self.settings = who, settings
        trained_on = settings.get("recipe", {}).get("data", {})
        name = data or trained_on.get("name")
        if name is None:
            raise ValueError(f"{who} does not record its training data: give --data, a set's name or a folder")
        own = _is_same_set(name, trained_on.get("name"))
        if skip_broken is None:
            skip_broken = own and bool(trained_on.get("skip_broken"))
        asked = {"name": name, "skip_broken": skip_broken, "workers": workers} | ({"root": str(root)} if root else {})
        self.reading = {**asdict(Data()), **trained_on, **asked}
        if not own:  # use this set's own split, not the one for the training data
            plain = {key: getattr(Data(), key) for key in ("test", "split_seed")}
            if changed := [f"data.{key} {self.reading[key]}" for key in plain if self.reading[key] != plain[key]]:
                logger.warning(
                    "%s is another set than %s, so its default test split is used, without the %s of training",
                    name, trained_on.get("name") or "the training data", " and ".join(changed),
                )  # fmt: skip
            self.reading |= plain
        # If the checkpoint stores the sensor, it need not be detected.
        self.reading["sensor"] = (settings.get("preprocess") or {}).get("sensor")
        if self.reading["cache"] and not Path(self.reading["cache"]).expanduser().is_dir():  # it was trained elsewhere
            self.reading["cache"] = Data().cache
        self.sets: Sets = load_sets(self.reading, seed=0, validation=0)

    def prepared(
        self, model: SpikingTransformer, only: list[int] | None = None, *, other_classes: bool = False
    ) -> Dataset:
        """The split, or the items at the indices `only`, as model inputs `[C, H, W]` or `[T, C, H, W]` with labels.

        With `other_classes` the set's classes may differ from the model's, for callers that ignore its predictions.
        Raises ValueError if classes, channels or the kind of data do not suit the model.
        """
        sets, who, settings = self.sets, self.who, self.settings
        stored = settings.get("preprocess")
        preprocess = stored_preprocess(settings) if stored else preprocess_for(sets, self.reading, model)
        check_task(sets, model)
        learnt = "recordings" if "frames_by" in preprocess else "images"
        if learnt != sets.kind:
            raise ValueError(f"{sets.name} has {sets.kind}, but {who} was trained on {learnt}: give --data another set")
        if len(sets.classes) != model.num_classes and not other_classes:
            raise ValueError(
                f"{sets.name} has {len(sets.classes)} classes, but the model has {model.num_classes}: "
                "give --data another set"
            )
        known = sets.classes if other_classes else settings.get("classes") or sets.classes
        for label, learnt in zip(sets.classes, known, strict=True):
            if label != learnt:
                raise ValueError(f"{sets.name} has the class {label!r} in place of {learnt!r} of {who}: rename it")
        if sets.channels != model.in_channels:
            raise ValueError(
                f"{sets.name} has {sets.kind} of {sets.channels} channels, but the model takes {model.in_channels}: "
                "give --data another set"
            )
        if "time_steps" in preprocess:
            preprocess = {**preprocess, "time_steps": model.time_steps}
        test: Any = sets.test
        return sets.prepared(test if only is None else Subset(test, only), preprocess, self.reading)


def _is_same_set(name: str, other: str | None) -> bool:
    """Whether two names are of one set: alike, or two spellings of one folder."""
    if name == other or other is None or {name, other} & {*known_sets()}:
        return name == other
    folders = [Path(each).expanduser() for each in (name, other)]
    return all(folder.is_dir() for folder in folders) and folders[0].samefile(folders[1])


def preprocess_for(sets: Sets, settings: Mapping[str, Any], model: SpikingTransformer) -> dict[str, Any]:
    """The preprocessing of a set, by the `data:` settings, for a model.

    Raises ValueError if the set is for another task than the model, and what the set's `preprocess` raises.
    """
    check_task(sets, model)
    masks = {"masks": True} if has_masks(model) else {}
    return sets.preprocess(settings, image_size=model.image_size, time_steps=model.time_steps, **masks)


_LABELS = {"classification": "classes", "detection": "boxes", "segmentation": "masks"}


def check_task(sets: Sets, model: SpikingTransformer) -> None:
    """Raises ValueError if a set has other labels than a model learns."""
    task = getattr(sets, "task", "classification")
    if task != model.task:
        raise ValueError(
            f"{sets.name} has {_LABELS[task]}, but {model.config.get('name', 'the model')} is for {model.task}, which "
            f"needs {_LABELS[model.task]}: give --data another set, or --model a model for {task}"
        )
