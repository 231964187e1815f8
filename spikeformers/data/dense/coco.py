"""Boxes and outlines in COCO's JSON."""

import json
import logging
import math
import os
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from .boxes import Flaws, as_number
from .labelled import BoxedImages, text_of

# Where a word begins: "latest" is no test. After "train", as in trainval and train_eval, val is no split of its own.
_SPLITS = {
    "train": r"(?<![A-Za-z])train",
    "val": r"(?<![A-Za-z])(?<!train[_.-])(mini|e)?val",
    "test": r"(?<![A-Za-z])test",
}

_logger = logging.getLogger("spikeformers")


def _files(folder: Path) -> dict[str, list[Path]]:
    """The JSON files that may be of each split, the one to read first: `annotations/*train*.json`, with `instances` if
    there are several, or inside its folder. Files that name another split too count if no other does."""
    plain = [file for file in (folder / "annotations").glob("[!.]*.json") if not file.stem.startswith("image_info_")]
    beside = sorted(folder.glob("*/_annotations.coco.json"))
    named = {}
    for split, word in _SPLITS.items():
        files = [file for file in sorted(plain) if re.search(word, file.stem)]
        files = [file for file in files if "instances" in file.stem] or files
        named[split] = files + [file for file in beside if re.match(word, file.parent.name)]
    every = [file for files in named.values() for file in files]
    alone = {split: [file for file in files if every.count(file) == 1] for split, files in named.items()}
    return {split: alone[split] or files for split, files in named.items() if files}


def _chosen(folder: Path) -> dict[str, Path]:
    """The JSON file of each split. Raises ValueError for one file of two splits, and logs which of several it is."""
    chosen: dict[str, Path] = {}
    for split, (file, *others) in _files(folder).items():
        if twin := next((name for name, taken in chosen.items() if taken == file), None):
            raise ValueError(f"{file} names both {twin} and {split}: rename it to one of them")
        if others:
            _logger.warning(
                "reading %s of %s from %s, the first of %d JSON files that name it: move it away to read the next, %s",
                split, folder, file.relative_to(folder), len(others) + 1, others[0].relative_to(folder),
            )  # fmt: skip
        chosen[split] = file
    return chosen


def is_coco(folder: Path) -> bool:
    """Whether a folder has `annotations/*train*.json`, or `train/_annotations.coco.json`."""
    return "train" in _files(folder)


def read_coco(folder: Path, flaws: Flaws) -> tuple[dict[str, BoxedImages], tuple[str, ...]]:
    """The splits of a folder with COCO's JSON, and the class names in the order of the categories' numbers.

    Images lie beside the JSON, in `train2017`, `images/train2017`, `train`, `images/train`, `images` or the folder
    itself. Boxes marked `iscrowd` are `crowd`. Raises FileNotFoundError for missing images or splits, ValueError for a
    file that is not COCO's or names two splits, and for splits with other categories.
    """
    files = _chosen(folder)
    if len(files) == 1:
        raise FileNotFoundError(f"{folder} has no JSON for val or test beside {files['train'].name}: add one")
    splits, classes = {}, ()
    for split, file in files.items():
        read = _read(file)
        numbers = _categories(file, read["categories"])
        names = tuple(numbers.values())
        classes = classes or names
        if set(names) != set(classes) or len({*names}) < len(names):
            differing = sorted(set(names) ^ set(classes)) or sorted(name for name in names if names.count(name) > 1)
            raise ValueError(
                f"{file} has other categories than {files['train']}, or one twice: {', '.join(differing[:3])}; give "
                "both the same categories"
            )
        known = {number: classes.index(name) for number, name in numbers.items()}
        splits[split] = BoxedImages(_items(split, file, folder, read, known, flaws))
    return splits, classes


def _read(file: Path) -> dict[str, Any]:
    try:
        read = json.loads(text_of(file))
    except RecursionError:
        raise ValueError(
            f"{file} has brackets nested too deeply: write it as COCO's instances_train2017.json"
        ) from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{file} is not valid JSON ({error}): write it again") from error
    for key in ("images", "categories", "annotations"):
        if not isinstance(read, dict) or not isinstance(read.get(key), list):
            raise ValueError(f"{file} has no list of {key}: write it as COCO's instances_train2017.json")
    return read


def _categories(file: Path, listed: list[Any]) -> dict[int, str]:
    """The names of the categories, by number and in its order."""
    numbers = {}
    for one in listed:
        number, name = (one.get("id"), one.get("name")) if isinstance(one, dict) else (None, None)
        if type(number) is not int or not isinstance(name, str | int) or number in numbers:
            raise ValueError(
                f"{file} has the category {str(one)[:80]}: give each an id of its own, a number, and a name"
            )
        numbers[number] = str(name)
    return dict(sorted(numbers.items()))


def _items(
    split: str, file: Path, folder: Path, read: dict[str, Any], known: dict[int, int], flaws: Flaws
) -> list[tuple[str, Any]]:
    by_image: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    try:
        for one in read["annotations"]:
            by_image[one["image_id"]].append(one)
        images = {}
        for one in read["images"]:
            if images.setdefault(one["id"], one) is not one:
                raise ValueError(f"{file} lists two images with the id {one['id']!r}: give each image its own")
            if not _is_path(one["file_name"]):
                raise ValueError(f"{file} lists an image with the file_name {one['file_name']!r}: give the file's name")
        if strangers := [number for number in by_image if number not in images]:
            flaws.broken.append(f"{file}: image {strangers[0]!r} has boxes and is not listed")
        place = _place(split, file, folder, next(iter(images.values()))["file_name"]) if images else folder
        items = []
        for number, image in images.items():
            found = by_image[number]
            corners = [_corners(one["bbox"]) for one in found]
            names = [one["category_id"] for one in found]
            crowd = [one.get("iscrowd", 0) for one in found]
            outlines = [one["segmentation"] for one in found if one.get("segmentation")]
            outlines = outlines if len(outlines) == len(found) else []
            where, (height, width) = f"{file}, {image['file_name']}", (image["height"], image["width"])
            if not all(0 < as_number(side) < math.inf and side == int(side) for side in (height, width)):
                flaws.broken.append(f"{where}: {width!r} x {height!r} is no size in pixels")
            elif strange := [one for one in crowd if one not in (0, 1)]:
                flaws.broken.append(f"{where}: iscrowd is {strange[0]!r}, which is neither 0 nor 1")
            else:
                boxes = flaws.checked(where, (int(height), int(width)), corners, names, known, crowd, outlines)
                items.append((str(place / image["file_name"]), boxes))
    except KeyError as error:
        raise ValueError(f"{file} has an image or a box that lacks {error}: write it as COCO's instances") from error
    except TypeError as error:  # a list or a word in place of a table, for example
        raise ValueError(f"{file} differs from COCO's instances ({error}): write it like them") from error
    return items


def _corners(box: Any) -> list[float]:
    """Left, top, right and bottom of a `bbox`, NaN for what is none."""
    x, y, w, h = map(as_number, box if isinstance(box, list) and len(box) == 4 else [None] * 4)
    return [x, y, x + w, y + h]


def _is_path(name: Any) -> bool:
    try:
        return isinstance(name, str) and bool(os.fsencode(name)) and "\0" not in name
    except UnicodeEncodeError:
        return False


def _place(split: str, file: Path, folder: Path, first: str) -> Path:
    """The folder of a split's images, by where the first of them lies."""
    own = file.stem.removeprefix("instances_")
    places = [
        file.parent,
        *(
            folder / "/".join(parts)
            for parts in ((own,), ("images", own), (split,), ("images", split), ("images",), ())
        ),
    ]
    found = next((place for place in places if (place / first).is_file()), None)
    if found is None:
        raise FileNotFoundError(f"{file} lists {first}, which is not in {places[1]}: put the images there")
    return found
