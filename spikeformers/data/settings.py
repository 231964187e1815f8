"""The `data:` settings of a recipe."""

from dataclasses import dataclass
from typing import Literal


@dataclass
class Data:
    """Which images or event recordings to read, and how. A recording becomes model.time_steps frames."""

    name: str = "digits"  # a known set, or a folder with train/<class>/* and val|test/<class>/*, boxes or masks
    root: str = "data"  # where known sets are stored and downloaded to
    validation: float = 0.1  # share of every class held out from training to choose the best checkpoint
    test_each_epoch: bool = False  # also evaluate on the test set each epoch, as the papers do; it chooses nothing
    mean: list[float] | None = None  # of pixels in 0..1, one per channel; null takes the set's own
    std: list[float] | None = None  # null takes the set's own
    interpolation: str | None = None  # bilinear or bicubic; null takes the set's own
    crop_pct: float = 1.0  # share of the resized image that evaluation crops
    workers: int = 2  # loading processes
    skip_broken: bool = False  # skip images or recordings that cannot be read, and count them
    # Sets with boxes or masks only:
    skip_empty: bool = False  # leave images without boxes out of training
    void: int | None = None  # a value of masks that counts for nothing, as 255 does; null takes the set's own
    # Event recordings only. Frames are counts, resized to model.image_size by `interpolation` (null: bilinear).
    frames_by: Literal["number", "time"] = "number"  # cut frames by equal numbers of events, or equal durations
    channels: Literal[2, 3] = 2  # 2: darker and brighter; 3: also their sum
    sensor: tuple[int, int] | None = None  # height and width in pixels; null takes the set's own
    test: float = 0.1  # share of every class to test on, if the set has no test split
    split_seed: int | None = None  # draws that share; null takes the last files of each class by name, as papers do
    window: tuple[float, float] | None = None  # cut recordings into samples: length and stride in seconds
    window_events: tuple[int, int] | None = None  # the same in events; samples of one recording stay in one split
    cache: str | None = "data/frames"  # folder to keep frames in; null makes them anew on each access
