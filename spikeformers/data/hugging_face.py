"""Image sets of the Hugging Face Hub, `hfds/owner/name`, or of a folder in their layouts, by the `datasets` library."""

import io
import logging
from pathlib import Path
from typing import Any

from .image_file import ImageFiles

PREFIX = "hfds/"
_SPLITS = {"train": ("train",), "val": ("validation", "val", "valid"), "test": ("test",)}


class HubImages(ImageFiles):
    """Images of one split; item i is (PIL image of mode RGB, label)."""

    def __init__(self, name: str, rows: Any, column: str, targets: list[int]):
        self.name, self.rows, self.column, self.targets = name, rows, column, targets

    def name_of(self, index: int) -> str:
        return f"{self.name}, row {index},"

    def file_of(self, index: int) -> str | io.BytesIO:
        image = self.rows[index][self.column]
        if image is None:
            raise ValueError(f"{self.name_of(index)} has no image")
        return io.BytesIO(image["bytes"]) if image["bytes"] else image["path"]


def read_hub(name: str, root: str | Path) -> tuple[dict[str, HubImages], tuple[str, ...]]:
    """The splits of `hfds/owner/name`, or `hfds/FOLDER` of files that `datasets` reads, kept under `root`; the classes.

    The column of images is the one that holds any; labels are the column `label`, or else the only one of classes, and
    may be classes, whole numbers or words, which are put in order. A split without labels is left out aloud.
    Raises ImportError without `datasets`, FileNotFoundError where the set, a split or such a column is missing.
    """
    try:
        import datasets
    except ImportError as error:
        raise ImportError(f'{name} needs the library datasets: pip install "spikeformers[hfds]"') from error
    where = str(Path(name.removeprefix(PREFIX)).expanduser())
    try:
        there = datasets.get_dataset_split_names(where)
        chosen = {ours: next((split for split in theirs if split in there), None) for ours, theirs in _SPLITS.items()}
        tables: dict[str, Any] = {
            ours: datasets.load_dataset(where, split=split, cache_dir=str(root))
            for ours, split in chosen.items()
            if split
        }
    except (OSError, ValueError, KeyError, RuntimeError) as error:  # no network, no such set
        reason = " ".join(str(error).split())
        raise FileNotFoundError(f"{name} cannot be read ({reason})") from error
    lacking = f"{name} has the splits {', '.join(there)}: it needs train, and validation or test, with labels"
    if "train" not in tables:
        raise FileNotFoundError(lacking)
    images, labels = _columns(name, tables["train"].features, datasets)
    targets, classes = _targets(name, tables, labels)
    if "train" not in targets or len(targets) == 1:
        raise FileNotFoundError(lacking)
    undecoded = datasets.Image(decode=False)  # our own decoder says what is wrong with which image
    splits = {
        ours: HubImages(f"{name}, {chosen[ours]}", tables[ours].cast_column(images, undecoded), images, found)
        for ours, found in targets.items()
    }
    return splits, classes


def _columns(name: str, features: Any, datasets: Any) -> tuple[str, str]:
    """The column of images, and that of labels."""
    images = [column for column, kind in features.items() if isinstance(kind, datasets.Image)]
    classes = [column for column, kind in features.items() if isinstance(kind, datasets.ClassLabel)]
    image = "image" if "image" in images else images[0] if len(images) == 1 else None
    label = "label" if "label" in features else classes[0] if len(classes) == 1 else None
    if image is None or label is None:
        raise FileNotFoundError(
            f"{name} has the columns {', '.join(features)}: it needs one of images, or one called image, and one of "
            "classes, or one called label"
        )
    return image, label


def _targets(name: str, tables: dict[str, Any], column: str) -> tuple[dict[str, list[int]], tuple[str, ...]]:
    """The labels of all splits that have some, as whole numbers from 0, and the classes."""
    values = {ours: table.select_columns(column)[:][column] for ours, table in tables.items()}
    for ours, found in list(values.items()):
        if all(value is None or value == -1 for value in found):  # so the Hub keeps the answers of a test to itself
            logging.getLogger("spikeformers").warning("the %s split of %s has no labels: it is not used", ours, name)
            del values[ours]
    distinct = {value for found in values.values() for value in found}
    if len(kinds := {type(value) for value in distinct}) > 1 or not kinds <= {int, str, bool}:
        raise ValueError(
            f"the column {column} of {name} holds {' and '.join(sorted(kind.__name__ for kind in kinds))}: labels are "
            "classes, whole numbers or words, one in every row"
        )
    names = getattr(tables["train"].features[column], "names", None)
    order = sorted(distinct) if names is None else range(len(names))
    if strange := distinct - set(order):
        raise ValueError(f"the column {column} of {name} holds {min(strange)}, where {len(order)} classes are named")
    place = {value: k for k, value in enumerate(order)}
    return {ours: [place[value] for value in found] for ours, found in values.items()}, tuple(
        str(value) for value in names or order
    )
