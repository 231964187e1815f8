"""Loading sets of event recordings, by name or from a folder."""

import logging
from pathlib import Path
from typing import Any

from torch.utils.data import Subset

from ..folders import warn_of_others
from ..known import SETS, KnownRecordings, names_of
from ..split import split_in_order, stratified_split
from .folder import Recordings, class_folders, find_splits, list_recordings
from .frames import Framing
from .named import find_set
from .prepared import PreparedFrames, framing_of, is_prepared
from .recording import Recording
from .sensor import measure_sensor
from .sets import EventSets
from .windows import Window, cut_all

_MISNAMED = {"training", "testing", "validation", "valid"}  # what splits are called elsewhere


def known_event_sets() -> tuple[str, ...]:
    """The names that `load_events` knows.

    Returns:
        Names of event sets. `load_events` reads any other name as a folder.
    """
    return names_of(KnownRecordings)


def load_events(
    name: str,
    *,
    root: str | Path = "data",
    validation: float = 0.1,
    seed: int = 0,
    channels: int = 2,
    sensor: tuple[int, int] | None = None,
    test: float = 0.1,
    split_seed: int | None = None,
    workers: int = 0,
    download: bool = True,
    window: Window | None = None,
) -> EventSets:
    """A labelled set of event recordings, by name or from a folder.

    A folder holds `train/<class>/<recording>` and the same under `val`, `test` or both, or only class folders. A folder
    named `frames_number_<T>_split_by_<number or time>` holds frames made by SpikingJelly.

    Args:
        name: one of `known_event_sets()`, or a folder.
        root: the folder of known sets, to which they are downloaded.
        validation: share of every class to split off from training; `seed` draws it.
        seed: for the validation split.
        channels: 2, darker and brighter, or 3, with their sum.
        sensor: height and width; None measures them on a folder's training recordings.
        test: share of each class for a set without test split: the last by file name, as in papers on CIFAR10-DVS.
        split_seed: draws the test share at random instead.
        workers: processes that read recordings.
        download: whether a missing known set may be downloaded.
        window: cuts recordings into samples, after splitting, so that all samples of one are in the same split.

    Returns:
        The splits and classes.

    Raises:
        FileNotFoundError: recordings are missing.
        ValueError: a share is out of range or leaves a split empty, or the classes of splits differ.
    """
    for what, share in (("validation", validation), ("test", test)):
        if not 0 <= share < 1:
            raise ValueError(f"{what} {share} is not in 0 <= {what} < 1: 0.1 splits off a tenth")
    known = SETS.get(name)
    if isinstance(known, KnownRecordings):
        folder = find_set(Path(root).expanduser(), name, known.is_it, known.archives, download)
        (parts, classes), size, framed = known.load(folder), known.sensor, None
        if (count := sum(map(len, parts.values()))) < known.count:
            logging.getLogger("spikeformers").warning(
                "%s in %s has %d of its %d recordings: unpack its archives again, unless you left some out",
                name, folder, count, known.count,
            )  # fmt: skip
    else:
        parts, classes, framed = _read_folder(Path(name).expanduser())
        size = framed and framed.sensor
    train = parts["train"]
    train, tested = (train, parts["test"]) if "test" in parts else _cut_test(train, test, split_seed)
    kept, cut = stratified_split(train.targets, validation, seed)
    if "val" in parts:
        kept, validated = list(range(len(train))), parts["val"]
    elif validation and not cut:
        raise ValueError(
            f"validation {validation} of {len(train)} training recordings gives none in any class: raise it, or set 0"
        )
    else:
        validated = Subset(train, cut)
    height, width = sensor or size or measure_sensor(name, train, workers)
    splits: tuple[Any, Any, Any] = Subset(train, kept), validated, tested
    if window:
        splits = _windows(name, splits, window, workers)
    transposed = getattr(train[0][0], "transposed", False)
    if transposed:
        logging.getLogger("spikeformers").warning("x and y are swapped in recordings of %s, as in the papers", name)
    train, validated, tested = splits
    size, unit = (height, width), "windows" if window else "recordings"
    return EventSets(name, train, validated, tested, classes, channels, size, framed, transposed, unit)


def _windows(name: str, splits: tuple[Any, Any, Any], window: Window, workers: int) -> tuple[Any, Any, Any]:
    if any(len(split) and isinstance(split[0][0], PreparedFrames) for split in splits):
        raise ValueError(f"{name} holds frames, which a window cannot cut: leave it out, or give the recordings")
    train, validated, tested = splits
    parts = cut_all(train, window, workers), cut_all(validated, window, workers), cut_all(tested, window, workers)
    counts = [
        f"{len(split)} into {len(part)} {purpose}"
        for split, part, purpose in zip(splits, parts, ("for training", "for validation", "for testing"), strict=True)
        if len(split)
    ]
    logging.getLogger("spikeformers").warning("recordings of %s are cut into samples: %s", name, ", ".join(counts))
    return parts


def _read_folder(folder: Path) -> tuple[dict[str, Recordings], tuple[str, ...], Framing | None]:
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{str(folder)!r} is neither a folder nor a known set: known sets are {', '.join(known_event_sets())}"
        )
    kind = PreparedFrames if is_prepared(folder) else Recording
    splits = find_splits(folder)
    others = [entry.name for entry in class_folders(folder) if entry not in splits.values()]
    known_by_others = others and {name.lower() for name in others} <= _MISNAMED
    if (splits.keys() == {"train"} and others) or ("train" not in splits and known_by_others):
        raise ValueError(
            f"{folder} holds {', '.join([*(entry.name for entry in splits.values()), *others[:3]])}: call its splits "
            "train, val and test, and keep nothing else beside them"
        )
    if "train" in splits:
        warn_of_others(folder, others)
    train, classes = list_recordings(splits.get("train", folder), kind=kind)
    parts = {name: list_recordings(splits[name], classes, kind)[0] for name in ("val", "test") if name in splits}
    if "val" in parts and "test" not in parts:
        parts = {"test": parts["val"]}
    first = train[0][0]
    return {"train": train, **parts}, classes, framing_of(folder, first) if isinstance(first, PreparedFrames) else None


def _cut_test(recordings: Recordings, share: float, seed: int | None) -> tuple[Recordings, Recordings]:
    targets = recordings.targets
    rest, part = split_in_order(targets, share) if seed is None else stratified_split(targets, share, seed)
    if not part:
        raise ValueError(
            f"a share of {share} gives none of {len(targets)} recordings for testing: put some into "
            "test/<class>/<recording> beside train, or train with a larger data.test"
        )
    return recordings.of(rest), recordings.of(part)
