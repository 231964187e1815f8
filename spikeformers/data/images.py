"""Labelled image sets by name: the built-in digits, torchvision's small sets, or your own folder."""

import difflib
import inspect
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from PIL import Image
from torch.utils.data import Subset

from . import hugging_face
from .folders import read_folder, warn_of_others
from .image_dataset import ImageFiles, Kept, check_images, find_broken
from .known import FOLDER, SETS, KnownImages, names_of
from .sampling import Augmented
from .shards import holds_shards, read_shards
from .split import Split, stratified_split
from .transforms import eval_transform, train_transform

_logger = logging.getLogger("spikeformers")


@dataclass(frozen=True)
class ImageSets:
    """The three splits of one labelled image set; every item is (PIL image, label)."""

    name: str
    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...]
    channels: int  # 3: images of mode RGB, 1: of mode L
    image_size: int | None  # pixels a side; None takes the model's
    mean: tuple[float, ...]  # of pixels in 0..1, one per channel
    std: tuple[float, ...]
    interpolation: str
    skipped: tuple[str, ...]  # broken files that were skipped
    kind: ClassVar[str] = "images"
    counted_in: ClassVar[str] = "images"
    augments: ClassVar[frozenset[str]] = frozenset(inspect.signature(train_transform).parameters)

    def preprocess(self, settings: Mapping[str, Any], *, image_size: int, **_: Any) -> dict[str, Any]:
        """The preprocessing that a recipe's `data:` settings describe, saved with the model's weights.

        Raises ValueError if mean or std do not have one number per channel.
        """
        preprocess = {
            "image_size": image_size,
            "mean": list(settings.get("mean") or self.mean),
            "std": list(settings.get("std") or self.std),
            "interpolation": settings.get("interpolation") or self.interpolation,
            "crop_pct": settings.get("crop_pct", 1.0),
        }
        for key in ("mean", "std"):
            if len(preprocess[key]) != self.channels:
                raise ValueError(
                    f"data.{key} has {len(preprocess[key])} numbers, but {self.name} has {self.channels} channels: "
                    "give one number per channel"
                )
        return preprocess

    def prepared(self, split: Split, preprocess: Mapping[str, Any], settings: Mapping[str, Any]) -> Augmented:
        """A split for evaluation: items ([C, H, W] tensor, label).

        Raises ValueError, as `augmented` does, if a file cannot be read and `settings` do not skip broken ones.
        """
        _check_unless_skipped(split, settings)
        return Augmented(split, eval_transform(**preprocess))

    def augmented(
        self,
        split: Split,
        preprocess: Mapping[str, Any],
        settings: Mapping[str, Any],
        augment: Mapping[str, Any],
        seed: int,
    ) -> Augmented:
        """A split for training, augmented by seed and epoch: items ([C, H, W] tensor, label)."""
        _check_unless_skipped(split, settings)
        how = {key: preprocess[key] for key in ("image_size", "mean", "std", "interpolation")}
        how |= {key: value for key, value in augment.items() if key in self.augments}
        return Augmented(split, train_transform(**how), seed)

    def picture(self, item: Image.Image) -> Image.Image:
        """An item as an image to look at."""
        return item

    def keep(self, item: Image.Image, file: Path) -> None:
        """Writes an item to `file` plus `.png`, for `predict` to read."""
        item.save(f"{file}.png")


def _check_unless_skipped(split: Split, settings: Mapping[str, Any]) -> None:
    if not settings.get("skip_broken"):
        check_images(split)


def known_image_sets() -> tuple[str, ...]:
    """The names that `load_images` knows; any other name is a folder."""
    return names_of(KnownImages)


def load_images(
    name: str,
    *,
    root: str | Path = "data",
    validation: float = 0.1,
    seed: int = 0,
    skip_broken: bool = False,
    download: bool = True,
) -> ImageSets:
    """An image set by name, or from a folder.

    Args:
        name: A known set; a folder of `train/<class>/<image>` or of WebDataset shards `train/*.tar`; or
            `hfds/owner/name` on the Hugging Face Hub.
        root: Where torchvision's and the Hub's sets are stored.
        validation: Share of every class held out from training. A folder with `val` and `test` keeps its own `val`.
        seed: Draws the held-out share.
        skip_broken: Skip unreadable files of a folder or a Hub set, in every split.
        download: Download a torchvision set that is not under `root`.

    Returns:
        The three splits, with items (PIL image, label).

    Raises:
        FileNotFoundError: Images are missing.
        ValueError: `validation` or a folder's classes are wrong.
    """
    if not 0 <= validation < 1:
        raise ValueError(f"validation {validation} is not in 0 <= validation < 1; 0.1 holds out a tenth of training")
    warn_of_folder(name, known_image_sets())
    known = SETS.get(name)
    if isinstance(known, KnownImages):
        train, test, classes = known.load(name, root, download)
        sets = {**known.traits._asdict(), "train": train, "test": test, "classes": classes}
    elif name.startswith(hugging_face.PREFIX):
        sets = _of_splits(name, *hugging_face.read_hub(name, root), skip_broken=skip_broken)
    else:
        folder = _find_folder(name)
        read = read_shards if holds_shards(folder) else read_folder
        splits, classes = read(folder)
        beside = (entry.name for entry in folder.glob("[!.]*") if entry.is_dir())
        warn_of_others(folder, sorted(set(beside) - splits.keys()))
        sets = _of_splits(name, splits, classes, skip_broken=skip_broken)
    if "validation" not in sets:
        sets["train"], sets["validation"] = _cut(sets["train"], validation, seed)
    return ImageSets(**{"name": name, "skipped": (), **sets})


def warn_of_folder(name: str, known: tuple[str, ...]) -> None:
    """Warns if a known set and a folder share the name."""
    if name in known and Path(name).is_dir():
        _logger.warning("%s is the known set of that name; for the folder write ./%s", name, name)


def _find_folder(name: str) -> Path:
    folder = Path(name).expanduser()
    if not folder.is_dir():
        close = difflib.get_close_matches(name.lower(), known_image_sets())
        raise FileNotFoundError(
            f"{name!r} is neither a folder nor a known image set"
            + (f"; did you mean {' or '.join(close)}?" if close else f"; known are {', '.join(known_image_sets())}")
        )
    return folder


def _of_splits(
    name: str, splits: Mapping[str, ImageFiles], classes: tuple[str, ...], *, skip_broken: bool
) -> dict[str, Any]:
    skipped: list[str] = []
    chosen: dict[str, Any] = dict(splits)
    for split, images in splits.items() if skip_broken else ():
        broken = find_broken(images)
        skipped += [images.name_of(i) for i in broken]
        if broken:
            chosen[split] = Kept(images, [i for i in range(len(images)) if i not in broken])
        if gone := sorted(set(images.targets) - set(chosen[split].targets)):
            raise FileNotFoundError(
                f"{Path(name) / split / classes[gone[0]]} holds no readable image; repair some, or remove that class "
                "from every split"
            )
    if skipped:
        _logger.warning("skipped %d broken image file(s) of %s, the first is %s", len(skipped), name, skipped[0])
    if unseen := sorted(set(range(len(classes))) - set(splits["train"].targets)):
        _logger.warning(
            "%s has no training image of %d of its %d classes, the first is %s",
            name, len(unseen), len(classes), classes[unseen[0]],
        )  # fmt: skip
    sets = {**FOLDER._asdict(), "train": chosen["train"], "classes": classes, "skipped": tuple(skipped)}
    if "val" in chosen and "test" in chosen:
        return {**sets, "validation": chosen["val"], "test": chosen["test"]}
    return {**sets, "test": chosen["test" if "test" in chosen else "val"]}


def _cut(train: Any, validation: float, seed: int) -> tuple[Subset, Subset]:
    kept, cut = stratified_split(train.targets, validation, seed)
    if validation and not cut:
        raise ValueError(
            f"validation {validation} of {len(train)} training images leaves no image in any class; raise it, or pass 0"
        )
    return Subset(train, kept), Subset(train, cut)
