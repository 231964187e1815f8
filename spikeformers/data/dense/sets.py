"""Sets with boxes or masks, by name or from a folder."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch.utils.data import Subset

from ..events.clips import Clips
from ..events.sets import EventSets, framing
from ..image_dataset import Kept, check_images, find_broken
from ..known import FOLDER, LAYOUTS, SETS, Dense, KnownDense, names_of
from ..readable import Readable
from ..sampling import Augmented
from ..split import Split, stratified_split
from .boxes import Flaws
from .remarks import count_boxes, say_shared, say_turned, with_outlines

_logger = logging.getLogger("spikeformers")


class Pairs(Augmented):
    """An `Augmented` set whose transform takes an item and its label, and gives a tensor and a target."""

    def made(self, source: Any, label: Any) -> tuple[torch.Tensor, Any]:
        transform: Any = self.transform
        return transform(source, label)


MOVES = frozenset({"hflip", "vflip", "scale_jitter"})
COLORS = frozenset({"color_jitter", "rand_augment", "rand_augment_ops"})


@dataclass(frozen=True)
class DenseSets:
    """The three splits of a set with boxes (`task` detection) or masks (`task` segmentation).

    An item is (PIL image, `Boxes`), (PIL image, classes `[H, W]`) or, with a `sensor`, (`Recording`, `Boxes`).
    `prepared` and `augmented` give tensors with targets, as `PairTransform` says.
    """

    name: str
    task: str
    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...]
    channels: int
    skipped: tuple[str, ...] = ()  # broken images that were skipped
    sensor: tuple[int, int] | None = None  # height, width, of recordings

    @property
    def augments(self) -> frozenset[str]:
        """The settings of `augment` that have an effect: recordings have no colours."""
        return MOVES if self.sensor is not None else MOVES | COLORS

    @property
    def kind(self) -> str:
        return "images" if self.sensor is None else "recordings"

    @property
    def counted_in(self) -> str:
        return "images" if self.sensor is None else "samples"

    def preprocess(
        self, settings: Mapping[str, Any], *, image_size: Any, time_steps: int, masks: bool = False
    ) -> dict[str, Any]:
        """The preprocessing that a recipe's `data:` settings describe, saved with the model's weights.

        `image_size` is a side or (height, width); `masks` asks for the outlines of boxes.

        Raises ValueError for settings that do not suit the set.
        """
        sides = [image_size, image_size] if isinstance(image_size, int) else [*image_size]
        common = {"task": self.task, "image_size": sides, "interpolation": settings.get("interpolation") or "bilinear"}
        if self.sensor is not None:
            ours = EventSets("", [], [], [], (), self.channels, self.sensor)
            asked = ours.preprocess({**settings, "name": self.name}, image_size=0, time_steps=time_steps)
            return {**asked, **common}
        if settings.get("crop_pct", 1.0) != 1.0:
            raise ValueError(f"data.crop_pct does not apply to {self.name}, whose images are not cropped: leave it out")
        pixels = {key: list(settings.get(key) or getattr(FOLDER, key)) for key in ("mean", "std")}
        for key, numbers in pixels.items():
            if len(numbers) != self.channels:
                raise ValueError(f"data.{key} has {len(numbers)} numbers, but {self.name} has 3 channels: give three")
        return {**common, **pixels, **({"masks": True} if masks else {})}

    def prepared(self, split: Split, preprocess: Mapping[str, Any], settings: Mapping[str, Any]) -> Pairs:
        """A split for evaluation: items (tensor, target). Raises ValueError, as `augmented` does, for broken items."""
        from .transforms import PairTransform

        transform: Any = PairTransform(**preprocess)
        return Pairs(self._items(split, preprocess, settings), transform)

    def augmented(
        self,
        split: Split,
        preprocess: Mapping[str, Any],
        settings: Mapping[str, Any],
        augment: Mapping[str, Any],
        seed: int,
    ) -> Pairs:
        """A split for training, augmented by seed and epoch: items (tensor, target)."""
        from .transforms import AugmentingPairTransform

        how = {key: value for key, value in augment.items() if key in self.augments}
        transform: Any = AugmentingPairTransform(**preprocess, **how)
        return Pairs(self._items(split, preprocess, settings), transform, seed)

    def picture(self, item: Any) -> Image.Image:
        """An item as an image to look at."""
        return item if self.sensor is None else EventSets("", [], [], [], (), 2, self.sensor).picture(item)

    def keep(self, item: Any, file: Path) -> None:
        """Writes an item to `file` plus its ending, for `predict` to read."""
        if self.sensor is None:
            item.save(f"{file}.png")
        else:
            item.keep(str(file))

    def _items(self, split: Split, preprocess: Mapping[str, Any], settings: Mapping[str, Any]) -> Any:
        if self.sensor is None:
            if not settings.get("skip_broken"):
                check_images(split)
                say_turned(self.name, split)
            return with_outlines(self.name, split, settings) if preprocess.get("masks") else split
        return Clips(
            split,
            framing(preprocess),
            cache=Path(settings["cache"]).expanduser() if settings.get("cache") else None,
            workers=settings.get("workers", 0),
            skip_broken=settings.get("skip_broken", False),
        )


def known_dense_sets() -> tuple[str, ...]:
    """The names of sets with boxes or masks; `load_dense` reads any other name as a folder."""
    return names_of(KnownDense)


def dense_layout(folder: Path) -> Dense | None:
    """How to read a folder with boxes or masks, None if it has neither."""
    return next((layout for layout in LAYOUTS if layout.is_it(folder)), None) if folder.is_dir() else None


def load_dense(name: str, settings: Mapping[str, Any], *, seed: int, validation: float) -> DenseSets:
    """A set with boxes or masks, by name or from a folder.

    Args:
        name: One of `known_dense_sets()`, or a folder in one of the layouts of docs/data.md.
        settings: The fields of `spikeformers.data.settings.Data`.
        seed: Draws the validation share.
        validation: Share of the training images held out, unless the set has splits for validation and for testing.

    Returns:
        The splits and classes.

    Raises:
        FileNotFoundError: Images, masks, boxes or a split are missing.
        ValueError: A file cannot be read, classes differ, or boxes are broken and `skip_broken` is off.
    """
    known = SETS.get(name)
    how = known.layout if isinstance(known, KnownDense) else dense_layout(Path(name).expanduser())
    assert how is not None
    folder = _find(Path(settings["root"]).expanduser(), name, known) if isinstance(known, KnownDense) else Path(name)
    flaws, skip = Flaws(), bool(settings["skip_broken"])
    splits, classes, sensor = how.read(folder.expanduser(), settings, flaws)
    flaws.settle(name, skip)
    if sensor is None:
        say_shared(name, splits)
    chosen: dict[str, Any] = dict(splits)
    skipped: list[str] = []
    for split, images in splits.items() if sensor is None and skip else ():
        if broken := find_broken(images):
            skipped += [images.name_of(i) for i in broken]
            chosen[split] = Kept(images, [i for i in range(len(images)) if i not in broken])
        say_turned(name, chosen[split])
    if skipped:
        _logger.warning("skipped %d broken image file(s) of %s, the first is %s", len(skipped), name, skipped[0])
    if how.task == "detection":
        count_boxes(name, chosen, classes)
        if settings["skip_empty"]:
            chosen["train"] = _with_boxes(chosen["train"])
    for split, items in chosen.items():
        if not len(items):
            raise FileNotFoundError(f"the {split} split of {name} has no sound item: repair some, or remove the split")
    train, test = chosen["train"], chosen["test" if "test" in chosen else "val"]
    held: Any = chosen["val"] if {"val", "test"} <= chosen.keys() else None
    if held is None:
        kept, cut = _cut(train, validation, seed, sensor is not None)
        train, held = (Subset(train, part) for part in (kept, cut))
    channels = 3 if sensor is None else settings["channels"]
    sets = DenseSets(name, how.task, train, held, test, classes, channels, tuple(skipped), sensor)
    if not skip or sensor is not None:
        return sets
    return replace(
        sets,
        train=Readable(train),
        validation=Readable(held, counted=False),
        test=Readable(test, counted=False),
    )


def _cut(train: Any, share: float, seed: int, recorded: bool) -> tuple[list[int], list[int]]:
    """The indices that stay and those of validation: a share of the images or, as samples of a recording overlap, of
    the recordings."""
    sources = [recording.path for recording, _ in train] if recorded else [*range(len(train))]
    each = sorted({*sources})
    _, part = stratified_split([0] * len(each), share, seed)
    if share and not part:
        kind = "recordings" if recorded else "items"
        raise ValueError(f"validation {share} of {len(each)} training {kind} leaves none: raise it, or pass 0")
    cut = {each[i] for i in part}
    kept = [i for i, source in enumerate(sources) if source not in cut]
    return kept, [i for i, source in enumerate(sources) if source in cut]


def _find(root: Path, name: str, known: KnownDense) -> Path:
    """The folder of a known set: `root/name`, `root`, or the folder that its archive unpacks to in either."""
    places = [place for base in (root / name, root) for place in (base, *(base / inside for inside in known.folders))]
    found = next((place for place in places if place.is_dir() and known.layout.is_it(place)), None)
    if found is None:
        raise FileNotFoundError(
            f"{name} is not in {str(root)!r}: unpack {known.source} into {root / name}, or name another folder with "
            "--data.root"
        )
    return found


def _with_boxes(items: Any) -> Subset:
    return Subset(items, [i for i, boxes in enumerate(items.targets) if len(boxes)])
