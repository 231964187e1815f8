"""Labelled image sets by name: the built-in digits, torchvision's small sets, or your own folder."""

import contextlib
import difflib
import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from PIL import Image
from torch.utils.data import Dataset, Subset

from . import digits, hugging_face
from .folders import read_folder
from .image_file import ImageFiles, Kept, check_images, find_broken
from .sampling import Augmented
from .shards import holds_shards, read_shards
from .split import stratified_split
from .transforms import eval_transform, train_transform

_logger = logging.getLogger("spikeformers")


@dataclass(frozen=True)
class ImageSets:
    """The three splits of one labelled image set; every item is (PIL image, label)."""

    name: str
    train: Dataset
    validation: Dataset
    test: Dataset
    classes: tuple[str, ...]
    channels: int  # 3: images of mode RGB, 1: of mode L
    image_size: int | None  # pixels a side; None takes the model's
    mean: tuple[float, ...]  # of pixels in 0..1, one a channel
    std: tuple[float, ...]
    interpolation: str
    skipped: tuple[str, ...]  # broken files that were skipped
    kind: ClassVar[str] = "images"
    counted_in: ClassVar[str] = "images"

    def preprocess(self, settings: Mapping[str, Any], *, image_size: int, **_: Any) -> dict[str, Any]:
        """The preprocessing that a recipe's `data:` settings describe, saved with the model's weights.

        Raises ValueError if mean or std do not have one number a channel.
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
                    "give one number a channel"
                )
        return preprocess

    def prepared(self, split: Dataset, preprocess: Mapping[str, Any], settings: Mapping[str, Any]) -> Augmented:
        """A split for evaluation: items ([C, H, W] tensor, label).

        Raises ValueError, as `augmented` does, if a file cannot be read and `settings` do not skip broken ones.
        """
        _check_unless_skipped(split, settings)
        return Augmented(split, eval_transform(**preprocess))

    def augmented(
        self,
        split: Dataset,
        preprocess: Mapping[str, Any],
        settings: Mapping[str, Any],
        augment: Mapping[str, Any],
        seed: int,
    ) -> Augmented:
        """A split for training, augmented by seed and epoch: items ([C, H, W] tensor, label)."""
        _check_unless_skipped(split, settings)
        how = {key: preprocess[key] for key in ("image_size", "mean", "std", "interpolation")}
        return Augmented(
            split, train_transform(**how, **{key: augment[key] for key in _AUGMENT if key in augment}), seed
        )

    def picture(self, item: Image.Image) -> Image.Image:
        """An item as an image to look at."""
        return item

    def keep(self, item: Image.Image, file: Path) -> None:
        """Writes an item to `file` plus `.png`, for `predict` to read."""
        item.save(f"{file}.png")


def _check_unless_skipped(split: Dataset, settings: Mapping[str, Any]) -> None:
    if not settings.get("skip_broken"):
        check_images(split)


_AUGMENT = ("hflip", "crop_scale", "crop_ratio", "rand_augment", "rand_augment_ops", "erase", "erase_mode")


def _traits(channels: int, image_size: int | None, mean: tuple, std: tuple, interpolation: str) -> dict[str, Any]:
    return {"channels": channels, "image_size": image_size, "mean": mean, "std": std, "interpolation": interpolation}


_DIGITS = _traits(1, 16, digits.MEAN, digits.STD, "bilinear")
_FOLDER = _traits(3, None, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bicubic")  # ImageNet's mean and std
_TORCHVISION = {  # name: torchvision's class, traits
    "cifar10": ("CIFAR10", _traits(3, 32, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616), "bicubic")),
    "cifar100": ("CIFAR100", _traits(3, 32, (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761), "bicubic")),
    "fashion_mnist": ("FashionMNIST", _traits(1, 28, (0.2860,), (0.3530,), "bilinear")),
    "mnist": ("MNIST", _traits(1, 28, (0.1307,), (0.3081,), "bilinear")),
}


def known_image_sets() -> tuple[str, ...]:
    """The names that `load_images` knows; any other name is a folder."""
    return ("digits", *_TORCHVISION)


def image_traits(name: str) -> dict[str, Any]:
    """Channels, image_size, mean, std and interpolation of a known set; a folder's for any other name."""
    return _DIGITS if name == "digits" else _TORCHVISION[name][1] if name in _TORCHVISION else _FOLDER


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
    if name == "digits":
        sets = _load_digits()
    elif name in _TORCHVISION:
        sets = _load_torchvision(name, root, download)
    elif name.startswith(hugging_face.PREFIX):
        sets = _of_splits(name, *hugging_face.read_hub(name, root), skip_broken=skip_broken)
    else:
        folder = _find_folder(name)
        read = read_shards if holds_shards(folder) else read_folder
        sets = _of_splits(name, *read(folder), skip_broken=skip_broken)
    if "validation" not in sets:
        sets["train"], sets["validation"] = _cut(sets["train"], validation, seed)
    return ImageSets(**{"name": name, "skipped": (), **sets})


def _load_digits() -> dict[str, Any]:
    train, test = digits.load_digits()
    return {**_DIGITS, "train": train, "test": test, "classes": tuple("0123456789")}


def _load_torchvision(name: str, root: str | Path, download: bool) -> dict[str, Any]:
    from torchvision import datasets

    class_name, traits = _TORCHVISION[name]
    build = getattr(datasets, class_name)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # torchvision prints progress; stdout is for results
            train, test = (build(root, train=part, download=download) for part in (True, False))
    except (OSError, RuntimeError) as error:  # no network, no files, or files of another checksum
        reason = " ".join(str(error).split())
        raise FileNotFoundError(
            f"{name} is not in {str(root)!r} ({reason}); put the files there as torchvision.datasets.{class_name} "
            "expects them, or pass a folder of images"
        ) from error
    return {**traits, "train": train, "test": test, "classes": tuple(train.classes)}


def warn_of_folder(name: str, known: tuple[str, ...]) -> None:
    """Warns if a known set and a folder share the name."""
    if name in known and Path(name).is_dir():
        _logger.warning("%s is the known set of that name; for the folder write ./%s", name, name)


def _find_folder(name: str) -> Path:
    folder = Path(name).expanduser()
    if not folder.is_dir():
        close = difflib.get_close_matches(name.lower(), known_image_sets())
        raise FileNotFoundError(
            f"{name!r} is no folder and no known image set"
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
    sets = {**_FOLDER, "train": chosen["train"], "classes": classes, "skipped": tuple(skipped)}
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
