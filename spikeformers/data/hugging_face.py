"""Image sets on the Hugging Face Hub, `hfds/owner/name`, or in a folder that the `datasets` library reads."""

import io
import logging
from pathlib import Path
from typing import Any

from .image_dataset import ImageFiles

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
    """The splits and classes of `hfds/owner/name` or `hfds/FOLDER`, cached under `root`.

    Images are in the column `image` or the only image column; labels in `label` or the only class column. Labels may
    be classes, integers or strings, which are sorted. A split without labels is skipped with a warning.
    Raises ImportError without `datasets`, FileNotFoundError if the set, a split or a column is missing.
    """
    try:
        import datasets
        from datasets.exceptions import DatasetsError
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
    except (OSError, ValueError, KeyError, RuntimeError, DatasetsError) as error:
        is_folder = Path(where).is_dir()
        vague = is_folder or isinstance(error, DatasetsError)  # the reason is its cause
        reason = " ".join(str((vague and error.__cause__) or error).split())
        remedy = "repair or remove damaged files" if is_folder else "check the name and the connection"
        raise FileNotFoundError(f"{name} cannot be read ({reason}); {remedy}") from error
    lacking = f"{name} has the splits {', '.join(there)}: it needs train, and validation or test, with labels"
    if "train" not in tables:
        raise FileNotFoundError(lacking)
    images, labels = _columns(name, tables["train"].features, datasets)
    targets, classes = _targets(name, tables, labels)
    if "train" not in targets or len(targets) == 1:
        raise FileNotFoundError(lacking)
    undecoded = datasets.Image(decode=False)  # `read_image` names the image that fails
    splits = {
        ours: HubImages(f"{name}, {chosen[ours]}", tables[ours].cast_column(images, undecoded), images, found)
        for ours, found in targets.items()
    }
    return splits, classes


def _columns(name: str, features: Any, datasets: Any) -> tuple[str, str]:
    """The image column and the label column."""
    images = [column for column, kind in features.items() if isinstance(kind, datasets.Image)]
    classes = [column for column, kind in features.items() if isinstance(kind, datasets.ClassLabel)]
    image = "image" if "image" in images else images[0] if len(images) == 1 else None
    label = "label" if "label" in features else classes[0] if len(classes) == 1 else None
    if image is None or label is None:
        raise FileNotFoundError(
            f"{name} has the columns {', '.join(features)}: name its image column image and its label column label"
        )
    return image, label


def _targets(name: str, tables: dict[str, Any], column: str) -> tuple[dict[str, list[int]], tuple[str, ...]]:
    """The labels of each labelled split, as integers from 0, and the classes."""
    values = {ours: table.select_columns(column)[:][column] for ours, table in tables.items()}
    for ours, found in list(values.items()):
        if all(value is None or value == -1 for value in found):  # how the Hub hides the labels of a test set
            logging.getLogger("spikeformers").warning("the %s split of %s has no labels and is not used", ours, name)
            del values[ours]
    if len(kinds := {type(value) for found in values.values() for value in found}) > 1 or not kinds <= {int, str, bool}:
        raise ValueError(
            f"the column {column} of {name} holds {' and '.join(sorted(kind.__name__ for kind in kinds))}: store "
            "labels as classes, integers or strings, one in every row"
        )
    distinct = {value for found in values.values() for value in found}
    names = getattr(tables["train"].features[column], "names", None)
    order = sorted(distinct) if names is None else range(len(names))
    if strange := distinct - set(order):
        raise ValueError(
            f"the column {column} of {name} holds {min(strange)}, but names {len(order)} classes: number labels from 0"
        )
    place = {value: k for k, value in enumerate(order)}
    return {ours: [place[value] for value in found] for ours, found in values.items()}, tuple(
        str(value) for value in names or order
    )
