"""The settings of `data:` in a recipe."""

from dataclasses import dataclass
from typing import Literal


@dataclass
class Data:
    """Which images or event recordings, and how they are read. Of recordings, model.time_steps frames are made."""

    name: str = "digits"  # a known set, or a folder with train/<class>/* and val|test/<class>/*
    root: str = "data"  # where known sets lie, or are downloaded to
    validation: float = 0.1  # share of every class cut from training to choose the best checkpoint by
    test_each_epoch: bool = False  # also read the test set each epoch, as the papers do; it chooses nothing
    mean: list[float] | None = None  # of pixels in 0..1, one a channel; null takes the set's own, as below
    std: list[float] | None = None
    interpolation: str | None = None  # bilinear, bicubic
    crop_pct: float = 1.0  # share of the resized image that evaluation looks at
    workers: int = 2  # loading processes
    skip_broken: bool = False  # leave out images or recordings that cannot be read, and count them
    # of event recordings only; frames are counts, resized to model.image_size by `interpolation` (null: bilinear)
    frames_by: Literal["number", "time"] = "number"  # frames of as many events, or of as many microseconds
    channels: Literal[2, 3] = 2  # darker and brighter; 3: and their sum
    sensor: tuple[int, int] | None = None  # height and width in pixels; null takes the set's own
    test: float = 0.1  # share of every class to test on, where the set has no split of its own
    split_seed: int | None = None  # draws that share; null takes the last files of each class by name, as papers do
    window: tuple[float, float] | None = None  # cut recordings into samples of such a length and stride, in seconds
    window_events: tuple[int, int] | None = None  # or in events; all samples of a recording stay in one split
    cache: str | None = "data/frames"  # folder where frames are kept, made once by `workers`; null makes them each time
