"""Masks as folders of PNG files, in the layouts of CamVid, ADE20K and Cityscapes."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..image_file import EXTENSIONS, files_below, is_image_name
from .labelled import VOID, MaskedImages, checked_void, class_names, lookup_of, say_skipped, text_of

CAMVID = ("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist")
CITYSCAPES = (
    "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation", "terrain",
    "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
)  # fmt: skip
_CITYSCAPES_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)  # in labelIds


class Layout(NamedTuple):
    """Where a layout keeps the images and masks of a split, and what their names end in, beside the common part."""

    images: str
    masks: str
    splits: dict[str, str]  # what the layout calls train, val and test
    image_end: str = ""
    mask_end: str = ""


_PLAIN = {"train": "train", "val": "val", "test": "test"}
LAYOUTS = {
    "camvid": Layout("{}/images", "{}/labels", _PLAIN),
    "segnet": Layout("{}", "{}annot", _PLAIN),
    "ade20k": Layout("images/{}", "annotations/{}", {"train": "training", "val": "validation"}),
    "cityscapes": Layout(
        "leftImg8bit/{}", "gtFine/{}", {"train": "train", "val": "val"}, "_leftImg8bit", "_gtFine_labelIds"
    ),
}


def layout_of(folder: Path) -> Layout | None:
    """The layout that a folder has, by its training images and masks."""
    for layout in LAYOUTS.values():
        if all((folder / place.format(layout.splits["train"])).is_dir() for place in (layout.images, layout.masks)):
            return layout
    return None


def is_masks(folder: Path) -> bool:
    """Whether a folder has masks in a known layout."""
    return layout_of(folder) is not None


def read_masks(
    folder: Path, void: int | None, lookup: np.ndarray | None = None, classes: tuple[str, ...] | None = None
) -> tuple[dict[str, MaskedImages], tuple[str, ...]]:
    """The splits of a folder of masks, and the class names: `classes`, or those of its `classes.txt`.

    A mask has the stem of its image. `lookup` is `MaskedImages`'s; by default values are class numbers, and 255 and
    `void` are void. Raises FileNotFoundError for a missing split, mask or `classes.txt`, and ValueError for one that
    does not name the classes of a `lookup`.
    """
    layout = layout_of(folder)
    if layout is None:
        raise FileNotFoundError(f"{folder} has no train/images and train/labels: put images and masks there")
    named = class_names(folder)
    if named and classes and lookup is not None and len(named) != len(classes):
        raise ValueError(
            f"{folder / 'classes.txt'} names {len(named)} classes, but the masks have {len(classes)}: name these in "
            "the order of their numbers, or remove the file"
        )
    classes = named or classes
    if classes is None:
        raise FileNotFoundError(
            f"{folder} has no classes.txt: write one, with a class in each line, the first for the value 0 of the masks"
        )
    if len(classes) > VOID:
        raise ValueError(
            f"{folder} has {len(classes)} classes, more than a mask of 8 bits can tell: name at most {VOID}"
        )
    if lookup is None:
        lookup = lookup_of(len(classes), void)
    splits = {}
    for split, theirs in layout.splits.items():
        images, masks = (folder / place.format(theirs) for place in (layout.images, layout.masks))
        if images.is_dir():
            splits[split] = MaskedImages(_pairs(images, masks, layout), lookup)
    if len(splits) == 1:
        raise FileNotFoundError(f"{folder} has no {layout.images.format(layout.splits['val'])}: add images and masks")
    return splits, classes


def _pairs(images: Path, masks: Path, layout: Layout) -> list[tuple[str, str]]:
    def by_stem(folder: Path, end: str) -> dict[str, str]:
        files = [Path(file) for file in files_below(folder) if is_image_name(file)] if folder.is_dir() else []
        return {
            str(file.relative_to(folder).with_suffix("")).removesuffix(end): str(file)
            for file in files
            if file.stem.endswith(end)
        }

    of_images, of_masks = by_stem(images, layout.image_end), by_stem(masks, layout.mask_end)
    if not of_images:
        raise FileNotFoundError(f"{images} holds no image: add some, or remove the folder")
    if lacking := [file for stem, file in of_images.items() if stem not in of_masks]:
        more = f" and {len(lacking) - 1} more of {len(of_images)} images have" if lacking[1:] else " has"
        raise FileNotFoundError(f"{lacking[0]}{more} no mask of the same name in {masks}: add it, or delete the image")
    used = {*of_images.values()}
    others = [file for file in files_below(images) if file not in used]
    others += [file for stem, file in of_masks.items() if stem not in of_images]
    say_skipped(images, others, f"an image ends in {' '.join(EXTENSIONS)}, and has a mask of the same name in {masks}")
    return [(file, of_masks[stem]) for stem, file in of_images.items()]


def read_camvid(folder: Path, void: int | None) -> tuple[dict[str, MaskedImages], tuple[str, ...]]:
    """CamVid with its 11 classes; 11 is void."""
    return read_masks(folder, 11 if void is None else void, classes=CAMVID)


def read_ade20k(folder: Path, void: int | None) -> tuple[dict[str, MaskedImages], tuple[str, ...]]:
    """ADE20K's scene parsing: 150 classes, counted from 1, and 0 for void. Names are in its `objectInfo150.txt`."""
    names = folder / "objectInfo150.txt"
    rows = [line.split("\t") for line in text_of(names).splitlines()[1:]] if names.is_file() else []
    classes = tuple(row[-1].split(",")[0].strip() for row in rows)
    if len({*classes}) != 150:  # missing, or two objects of one first name
        classes = tuple(f"{number} {name}".strip() for number, name in enumerate(classes or [""] * 150, 1))
    return read_masks(folder, void, lookup_of(len(classes), void, first=1), classes)


def read_cityscapes(folder: Path, void: int | None) -> tuple[dict[str, MaskedImages], tuple[str, ...]]:
    """Cityscapes with the 19 classes that it evaluates; all others are void, and so is the id `void`."""
    lookup = np.full(256, VOID, np.int16)
    lookup[[*_CITYSCAPES_IDS]] = np.arange(len(CITYSCAPES))
    if void is not None:
        lookup[checked_void(void)] = VOID
    return read_masks(folder, void, lookup, CITYSCAPES)


MaskReader = Callable[[Path, int | None], tuple[dict[str, MaskedImages], tuple[str, ...]]]
