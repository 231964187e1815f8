"""Boxes and outlines in COCO's JSON."""

import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from .boxes import Flaws
from .labelled import BoxedImages

_SPLITS = {"train": r"train", "val": r"val", "test": r"test"}


def _files(folder: Path) -> dict[str, Path]:
    """The JSON file of each split: `annotations/*train*.json`, with `instances` if there are several, or inside it."""
    found = {}
    for split, word in _SPLITS.items():
        named = [file for file in sorted((folder / "annotations").glob("[!.]*.json")) if re.search(word, file.stem)]
        named = [file for file in named if "instances" in file.stem] or named
        named += sorted(file for file in folder.glob("*/_annotations.coco.json") if re.match(word, file.parent.name))
        if named:
            found[split] = named[0]
    return found


def is_coco(folder: Path) -> bool:
    """Whether a folder has `annotations/*train*.json`, or `train/_annotations.coco.json`."""
    return "train" in _files(folder)


def read_coco(folder: Path, flaws: Flaws) -> tuple[dict[str, BoxedImages], tuple[str, ...]]:
    """The splits of a folder with COCO's JSON, and the class names in the order of the categories' numbers.

    Images lie beside the JSON, in `train2017`, `images/train2017`, `train`, `images/train`, `images` or the folder
    itself. Boxes marked `iscrowd` are `crowd`. Raises FileNotFoundError for missing images or splits, ValueError for a
    file that is not COCO's and for splits with other categories.
    """
    files = _files(folder)
    if len(files) == 1:
        raise FileNotFoundError(f"{folder} has no JSON for val or test beside {files['train'].name}: add one")
    splits, classes = {}, ()
    for split, file in files.items():
        read = _read(file)
        numbers = {one["id"]: str(one["name"]) for one in sorted(read["categories"], key=lambda one: one["id"])}
        names = tuple(numbers.values())
        classes = classes or names
        if set(names) != set(classes) or len({*names}) < len(names):
            differing = sorted(set(names) ^ set(classes)) or sorted(name for name in names if names.count(name) > 1)
            raise ValueError(
                f"{file} has other categories than {files['train']}, or one twice: {', '.join(differing[:3])}; give "
                "both the same categories"
            )
        splits[split] = BoxedImages(_items(file, folder, read, numbers, classes, flaws))
    return splits, classes


def _read(file: Path) -> dict[str, Any]:
    try:
        read = json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is not valid JSON ({error}): write it again") from error
    for key in ("images", "categories", "annotations"):
        if not isinstance(read, dict) or not isinstance(read.get(key), list):
            raise ValueError(f"{file} has no list of {key}: write it as COCO's instances_train2017.json")
    return read


def _items(
    file: Path, folder: Path, read: dict[str, Any], numbers: dict[int, str], classes: tuple[str, ...], flaws: Flaws
) -> list[tuple[str, Any]]:
    by_image: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    try:
        for one in read["annotations"]:
            by_image[one["image_id"]].append(one)
        images = {one["id"]: one for one in read["images"]}
        if strangers := sorted(by_image.keys() - images.keys()):
            flaws.broken.append(f"{file}: image {strangers[0]} has boxes and is not listed")
        place = _place(file, folder, next(iter(images.values()))["file_name"]) if images else folder
        items = []
        for number, image in images.items():
            found = by_image[number]
            corners = [[x, y, x + w, y + h] for x, y, w, h in (one["bbox"] for one in found)]
            names = [numbers.get(one["category_id"], one["category_id"]) for one in found]
            crowd = [bool(one.get("iscrowd", 0)) for one in found]
            outlines = [one["segmentation"] for one in found if one.get("segmentation")]
            outlines = outlines if len(outlines) == len(found) else []
            where, size = f"{file}, {image['file_name']}", (image["height"], image["width"])
            boxes = flaws.checked(where, size, corners, names, classes, crowd, outlines)
            items.append((str(place / image["file_name"]), boxes))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file} has an image or a box that lacks {error}: write it as COCO's instances") from error
    return items


def _place(file: Path, folder: Path, first: str) -> Path:
    """The folder of a split's images, by where the first of them lies."""
    split = file.stem.removeprefix("instances_")
    plain = next((split_name for split_name, word in _SPLITS.items() if re.search(word, split)), split)
    places = [
        file.parent,
        *(
            folder / "/".join(parts)
            for parts in ((split,), ("images", split), (plain,), ("images", plain), ("images",), ())
        ),
    ]
    found = next((place for place in places if (place / first).is_file()), None)
    if found is None:
        raise FileNotFoundError(f"{file} lists {first}, which is not in {places[1]}: put the images there")
    return found
