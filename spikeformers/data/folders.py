"""A folder as an image set: `train/<class>/<image>`, and the same under `val`, `test` or both."""

import logging
from collections.abc import Sequence
from pathlib import Path

from .image_dataset import ImageFiles
from .image_file import EXTENSIONS, files_below, is_image_name


class FolderImages(ImageFiles):
    """Images read from their files; item i is (PIL image of mode RGB, label)."""

    def __init__(self, samples: list[tuple[str, int]]):
        self.paths = [path for path, _ in samples]
        self.targets = [label for _, label in samples]

    def name_of(self, index: int) -> str:
        return self.paths[index]

    file_of = name_of


def read_folder(folder: Path) -> tuple[dict[str, FolderImages], tuple[str, ...]]:
    """The splits in `folder` by name, and the class names. Logs how many other files it skips.

    Raises FileNotFoundError if a split or its images are missing, ValueError if the splits' classes differ.
    """
    names = [name for name in ("train", "val", "test") if (folder / name).is_dir()]
    if "train" not in names or len(names) == 1:
        missing = "'train' folder" if "train" not in names else "'val' or 'test' folder"
        raise FileNotFoundError(
            f"{folder} has no {missing}; lay it out as train/<class>/<image> with the same under val, test or both, "
            "or with boxes or masks as docs/data.md shows"
        )
    classes = {name: _class_names(folder / name) for name in names}
    for name in names[1:]:
        _check_same_classes(folder, classes["train"], name, classes[name])

    splits, others = {}, []
    for name in names:
        others += [str(file) for file in sorted((folder / name).glob("[!.]*")) if file.is_file()]
        samples = []
        for label, class_name in enumerate(classes["train"]):
            files = files_below(folder / name / class_name)
            images = [(file, label) for file in files if is_image_name(file)]
            if not images:
                raise FileNotFoundError(
                    f"{folder / name / class_name} holds no readable image ({' '.join(EXTENSIONS)}); add some, or "
                    "remove that class from every split"
                )
            samples += images
            others += [file for file in files if not is_image_name(file)]
        splits[name] = FolderImages(samples)
    if others:
        logging.getLogger("spikeformers").warning(
            "skipped %d file(s) of %s, the first is %s: images belong in class folders, and their names end in %s",
            len(others), folder, others[0], " ".join(EXTENSIONS),
        )  # fmt: skip
    return splits, classes["train"]


def warn_of_others(folder: Path, others: Sequence[str]) -> None:
    """Logs folders beside the splits, which are not read."""
    if others:
        logging.getLogger("spikeformers").warning(
            "%s holds %d folder(s) that are not read, the first is %s: its splits are named train, val and test",
            folder, len(others), others[0],
        )  # fmt: skip


def _class_names(split: Path) -> tuple[str, ...]:
    names = tuple(sorted(entry.name for entry in split.iterdir() if entry.is_dir() and not entry.name.startswith(".")))
    if not names:
        raise FileNotFoundError(f"{split} has no class folders; put its images at {split.name}/<class>/<image>")
    return names


def _check_same_classes(folder: Path, train: tuple[str, ...], name: str, other: tuple[str, ...]) -> None:
    only_train, only_other = sorted(set(train) - set(other)), sorted(set(other) - set(train))
    if only_train or only_other:
        raise ValueError(
            f"the class folders of train and {name} differ in {folder}: only in train {_first(only_train)}, only in "
            f"{name} {_first(only_other)}; give both the same class folders"
        )


def _first(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") if names else "none"
