"""Boxes of event recordings as Prophesee's Gen1 has them: `NAME_bbox.npy` beside `NAME_td.dat`."""

from pathlib import Path

import numpy as np
from torch.utils.data import Dataset

from ..events.folder import find_splits
from ..events.recording import Recording, is_recording
from .boxes import Boxes, Flaws
from .labelled import class_names

CLASSES = ("car", "pedestrian")
_LENGTH = 250_000  # microseconds of a sample, if no window is asked for
_BOXES = "_bbox.npy"


class BoxedRecordings(Dataset):
    """Parts of recordings, each with the boxes at its end; item i is (`Recording`, `Boxes`)."""

    def __init__(self, items: list[tuple[Recording, Boxes]]):
        self.items = items
        self.targets = [boxes for _, boxes in items]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[Recording, Boxes]:
        return self.items[index]


def is_gen1(folder: Path) -> bool:
    """Whether a folder has files of boxes, `*_bbox.npy`, below `train`."""
    train = find_splits(folder).get("train")
    return train is not None and next(train.glob(f"*{_BOXES}"), None) is not None


def read_gen1(
    folder: Path, flaws: Flaws, sensor: tuple[int, int], window: tuple[float, float] | None
) -> tuple[dict[str, BoxedRecordings], tuple[str, ...]]:
    """The splits of a folder of recordings with boxes, and the class names: those of `classes.txt`, or Gen1's.

    A sample ends at a time for which there are boxes, and is `window[0]` seconds long, 0.25 by default. Times that
    follow the sample before by less than `window[1]` seconds are passed over. Raises FileNotFoundError for a missing
    split or recording, ValueError for a file of boxes that cannot be read.
    """
    classes = class_names(folder) or CLASSES
    length, stride = (round(1e6 * seconds) for seconds in window or (_LENGTH / 1e6, 0))
    splits = {}
    for split, place in find_splits(folder).items():
        files = sorted(place.glob(f"*{_BOXES}"))
        if not files:
            raise FileNotFoundError(f"{place} holds no file of boxes, *{_BOXES}: add some, or remove the folder")
        splits[split] = BoxedRecordings(
            [item for file in files for item in _samples(file, flaws, sensor, length, stride, len(classes))]
        )
    if len(splits) == 1:
        raise FileNotFoundError(f"{folder} has no val or test folder beside train: move some recordings there")
    return splits, classes


def _samples(
    file: Path, flaws: Flaws, sensor: tuple[int, int], length: int, stride: int, classes: int
) -> list[tuple[Recording, Boxes]]:
    stem = file.name.removesuffix(_BOXES)
    beside = [one for one in sorted(file.parent.glob(f"{stem}*")) if one != file and is_recording(one)]
    if not beside:
        raise FileNotFoundError(f"{file} has no recording {stem}_td.dat beside it: add it, or delete the boxes")
    try:
        rows = np.load(file, allow_pickle=False)
        t = rows["ts" if "ts" in rows.dtype.names else "t"].astype(np.int64)
        x, y, w, h = (rows[name].astype(np.float64) for name in ("x", "y", "w", "h"))
        labels = rows["class_id"].astype(np.int64)
    except Exception as error:  # NumPy's are of all kinds
        raise ValueError(
            f"{file} cannot be read as boxes ({error}): save a table with the columns t, x, y, w, h and class_id"
        ) from error
    samples, last = [], -stride
    for end in np.unique(t[t >= length]):
        if end - last < stride:
            continue
        last, now = end, t == end
        corners = np.stack([x, y, x + w, y + h], 1)[now]
        boxes = flaws.checked(
            f"{file} at {end} microseconds", sensor, corners.tolist(), labels[now].tolist(), range(classes)
        )
        samples.append((Recording(str(beside[0]), int(end) - length, int(end)), boxes))
    return samples
