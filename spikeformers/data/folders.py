"""A folder as an image set: `train/<class>/<image>`, and the same under `val`, `test` or both."""

import logging
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

from PIL import Image
from torch.utils.data import Dataset

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".tif", ".tiff")


class FolderImages(Dataset):
    """Images read from their files; item i is (PIL image of mode RGB, label).

    Raises ValueError, naming the file, where one cannot be decoded or is deeper than 8 bits.
    """

    def __init__(self, samples: list[tuple[str, int]]):
        self.paths = [path for path, _ in samples]
        self.targets = [label for _, label in samples]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        path = self.paths[index]
        return open_rgb(path, path), self.targets[index]


def open_rgb(file: Any, name: str) -> Image.Image:
    """An image file, by path or open, as mode RGB. Raises ValueError, with its `name`, where it cannot be decoded or is
    deeper than 8 bits."""
    try:
        with Image.open(file) as image:
            mode, rgb = image.mode, image.convert("RGB")
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, struct.error and more
        raise ValueError(
            f"{name} cannot be read as an image ({error}); replace or delete it, or leave out the files with a "
            "broken header by skip_broken=True (--data.skip_broken true on the command line)"
        ) from error
    if mode.startswith(("I", "F")):  # Pillow clips these at 255: a 16-bit picture would come out white
        raise ValueError(f"{name} has more than 8 bits a channel (mode {mode}); save it with 8 bits")
    return rgb


def read_folder(folder: Path, *, skip_broken: bool) -> tuple[dict[str, FolderImages], tuple[str, ...], tuple[str, ...]]:
    """The splits that lie in `folder` by name, the class names, and the broken files that were left out.

    Raises FileNotFoundError where a split or its images are missing, ValueError where the splits' classes differ.
    """
    names = [name for name in ("train", "val", "test") if (folder / name).is_dir()]
    if "train" not in names or len(names) == 1:
        missing = "'train' folder" if "train" not in names else "'val' or 'test' folder"
        raise FileNotFoundError(
            f"{folder} has no {missing}; lay it out as train/<class>/<image> with the same under val, test or both"
        )
    classes = {name: _class_names(folder / name) for name in names}
    for name in names[1:]:
        _check_same_classes(folder, classes["train"], name, classes[name])

    splits, skipped = {}, []
    for name in names:
        samples = _list_images(folder / name, classes["train"])
        if skip_broken:
            samples, broken = _leave_out_broken(samples)
            skipped += broken
        _check_no_class_is_empty(folder / name, classes["train"], samples)
        splits[name] = FolderImages(samples)
    if skipped:
        logging.getLogger("spikeformers").warning(
            "left out %d broken image file(s) of %s, the first is %s", len(skipped), folder, skipped[0]
        )
    return splits, classes["train"], tuple(skipped)


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
            f"{name} {_first(only_other)}; both need the same ones"
        )


def _first(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") if names else "none"


def _list_images(split: Path, classes: tuple[str, ...]) -> list[tuple[str, int]]:
    from torchvision.datasets.folder import make_dataset

    labels = {name: label for label, name in enumerate(classes)}
    return make_dataset(str(split), labels, is_valid_file=_is_image_name, allow_empty=True)


def _is_image_name(path: str) -> bool:
    name = Path(path).name.lower()
    return name.endswith(EXTENSIONS) and not name.startswith(".")  # macOS leaves "._cat.jpg" beside "cat.jpg"


def _check_no_class_is_empty(split: Path, classes: tuple[str, ...], samples: list[tuple[str, int]]) -> None:
    empty = sorted(set(range(len(classes))) - {label for _, label in samples})
    if empty:
        raise FileNotFoundError(
            f"{split / classes[empty[0]]} holds no readable image ({' '.join(EXTENSIONS)}); add some, or remove that "
            "class from every split"
        )


def _leave_out_broken(samples: list[tuple[str, int]]) -> tuple[list[tuple[str, int]], list[str]]:
    with ThreadPool(16) as pool:  # the time goes to the disk; decoding every pixel instead would take hours of ImageNet
        readable = pool.map(_has_whole_header, [path for path, _ in samples])
    kept = [sample for sample, good in zip(samples, readable, strict=True) if good]
    return kept, [path for (path, _), good in zip(samples, readable, strict=True) if not good]


def _has_whole_header(path: str) -> bool:
    try:
        with Image.open(path) as image:
            image.verify()
    except Exception:  # whatever the decoder raised, FolderImages would meet it too
        return False
    return True
