"""DVS128 Gesture: a long recording per person, cut by its label file into one recording per gesture.

Amir et al., "A Low Power, Fully Event-Based Gesture Recognition System", CVPR 2017. This gives 1,176 training and 288
test recordings, the numbers in papers on spiking transformers.
"""

import csv
from pathlib import Path

from .folder import Recordings
from .recording import Recording

CLASSES = (  # labelled 1 to 11 in the files
    "hand_clapping",
    "right_hand_wave",
    "left_hand_wave",
    "right_arm_clockwise",
    "right_arm_counter_clockwise",
    "left_arm_clockwise",
    "left_arm_counter_clockwise",
    "arm_roll",
    "air_drums",
    "air_guitar",
    "other_gestures",
)


def read_trials(folder: Path, part: str) -> Recordings:
    """The recordings of the part `train` or `test`, as `trials_to_<part>.txt` and the label files list them.

    Raises FileNotFoundError if a listed file is missing, ValueError for a malformed label file.
    """
    items = []
    for line in (folder / f"trials_to_{part}.txt").read_text().split():
        file, labels = folder / line, folder / f"{line.removesuffix('.aedat')}_labels.csv"
        for needed in (file, labels):
            if not needed.is_file():
                raise FileNotFoundError(f"{needed} is missing, but {folder}/trials_to_{part}.txt lists {line}")
        items += [(Recording(str(file), start, end), label) for label, start, end in _read_labels(labels)]
    return Recordings(items)


def _read_labels(file: Path) -> list[tuple[int, int, int]]:
    """One tuple per row: label from 0, start and end in microseconds."""
    try:
        with file.open(newline="") as table:
            rows = [
                (int(row["class"]) - 1, int(row["startTime_usec"]), int(row["endTime_usec"]))
                for row in csv.DictReader(table)
            ]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file} is not a table of class, startTime_usec, endTime_usec ({error})") from error
    if any(not 0 <= label < len(CLASSES) for label, _, _ in rows):
        raise ValueError(f"{file} has a class outside 1 to {len(CLASSES)}")
    return rows
