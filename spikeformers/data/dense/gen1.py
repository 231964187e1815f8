"""Boxes of event recordings as Prophesee's Gen1 has them: `NAME_bbox.npy` beside `NAME_td.dat`."""

from pathlib import Path

import numpy as np
from torch.utils.data import Dataset

from ..events.folder import find_splits
from ..events.recording import Recording, is_recording
from .boxes import Boxes, Flaws
from .labelled import class_names, say_skipped

CLASSES = ("car", "pedestrian")
_LENGTH = 250_000  # microseconds of a sample, if no window is asked for
_LAST = 2.0**53  # microseconds, 285 years; float64 counts no further one by one
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
    return train is not None and next(train.glob(f"[!.]*{_BOXES}"), None) is not None


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
        found = [file for file in sorted(place.glob("[!.]*")) if is_recording(file)]  # boxes are .npy, as events may be
        files = [file for file in found if file.name.endswith(_BOXES)]
        if not files:
            raise FileNotFoundError(f"{place} holds no file of boxes, *{_BOXES}: add some, or remove the folder")
        recordings = {file.stem: file for file in found if not file.name.endswith(_BOXES)}
        pairs = [(file, _recording_of(file, recordings)) for file in files]
        splits[split] = BoxedRecordings(
            [item for pair in pairs for item in _samples(*pair, flaws, sensor, length, stride, len(classes))]
        )
        used = {file for pair in pairs for file in pair}
        lone = [file for file in found if file not in used]
        say_skipped(place, lone, f"a recording NAME_td.dat has its boxes in NAME{_BOXES}")
    if len(splits) == 1:
        raise FileNotFoundError(f"{folder} has no val or test folder beside train: move some recordings there")
    return splits, classes


def _recording_of(file: Path, recordings: dict[str, Path]) -> Path:
    """`NAME_td.dat` or `NAME.dat`, or the same in another format, for `NAME_bbox.npy`."""
    stem = file.name.removesuffix(_BOXES)
    recording = recordings.get(f"{stem}_td") or recordings.get(stem)
    if recording is None:
        raise FileNotFoundError(f"{file} has no recording {stem}_td.dat beside it: add it, or delete the boxes")
    return recording


def _samples(
    file: Path, recording: Path, flaws: Flaws, sensor: tuple[int, int], length: int, stride: int, classes: int
) -> list[tuple[Recording, Boxes]]:
    try:
        rows = np.load(file, allow_pickle=False)
        columns = [rows[name] for name in ("ts" if "ts" in rows.dtype.names else "t", *"xywh", "class_id")]
        if strange := [column for column in columns if column.ndim != 1 or column.dtype.kind not in "iuf"]:
            raise ValueError(f"a column of {strange[0].dtype}, of the shape {strange[0].shape}")
        t, x, y, w, h = (column.astype(np.float64) for column in columns[:5])
        labels = columns[5]
    except Exception as error:  # NumPy's are of all kinds
        raise ValueError(
            f"{file} cannot be read as boxes ({error}): save a table with the columns t, x, y, w, h and class_id"
        ) from error
    samples, last = [], -stride
    whole = (np.abs(t) < _LAST) & (t == np.floor(t))
    flaws.broken += [
        f"{file}: box {i + 1} has the time {t[i]}, which is not a whole number" for i in np.flatnonzero(~whole)
    ]
    for end in map(int, np.unique(t[whole & (t >= length)])):
        if end - last < stride:
            continue
        last, now = end, t == end
        corners = np.stack([x, y, x + w, y + h], 1)[now]
        known = {label: label for label in range(classes)}
        boxes = flaws.checked(f"{file} at {end} microseconds", sensor, corners.tolist(), labels[now].tolist(), known)
        samples.append((Recording(str(recording), end - length, end), boxes))
    return samples
