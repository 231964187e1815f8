"""Converting events to frames: counts by pixel and polarity, in each of T parts of a recording."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

_LARGEST = 8192  # pixels per side, more than any event camera has


@dataclass(frozen=True)
class Framing:
    """Cuts a recording into T frames of a sensor of `height x width` pixels.

    `by="number"` gives every frame the same number of events, `by="time"` the same duration in whole microseconds. The
    last frame also takes the remainder. A frame without events is empty.

    Raises ValueError, when called, for an event outside the sensor, and by number for fewer events than frames.
    """

    by: Literal["number", "time"]
    time_steps: int
    sensor: tuple[int, int]  # height, width

    def __post_init__(self) -> None:
        if not all(1 <= side <= _LARGEST for side in self.sensor):
            height, width = self.sensor
            raise ValueError(
                f"a sensor cannot have {height} x {width} pixels: set data.sensor to the camera's height and width, "
                f"1 to {_LARGEST}"
            )

    def holds(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """A mask of the events inside the sensor."""
        height, width = self.sensor
        return (x >= 0) & (x < width) & (y >= 0) & (y < height)

    @property
    def name(self) -> str:
        """A name that contains all settings."""
        height, width = self.sensor
        return f"{self.time_steps}x{height}x{width}-by-{self.by}"

    def __call__(self, t: np.ndarray, x: np.ndarray, y: np.ndarray, p: np.ndarray) -> np.ndarray:
        """`[N]` events, sorted by time -> counts `[T, 2, H, W]`, darker and brighter, in the smallest unsigned type."""
        height, width = self.sensor
        if outside := int((~self.holds(x, y)).sum()):
            raise ValueError(
                f"{outside} of its {len(x)} events lie outside the {height} x {width} pixels of the sensor, up to "
                f"x = {x.max()}, y = {y.max()}: remove the recording if another camera made it, or set data.sensor "
                "to the camera's height and width"
            )
        step = self._steps(t)
        place = ((step * 2 + p) * height + y) * width + x
        counts = np.bincount(place, minlength=self.time_steps * 2 * height * width)
        return counts.astype(np.min_scalar_type(counts.max())).reshape(self.time_steps, 2, height, width)

    def _steps(self, t: np.ndarray) -> np.ndarray:
        """The frame of each event."""
        if self.by == "time":
            length = max(1, int(t[-1] - t[0]) // self.time_steps)
            return np.minimum((t - t[0]) // length, self.time_steps - 1)
        length = len(t) // self.time_steps
        if not length:
            raise ValueError(f"{len(t)} events cannot be cut into {self.time_steps} frames")
        return np.minimum(np.arange(len(t)) // length, self.time_steps - 1)
