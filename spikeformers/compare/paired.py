"""What a difference over a few seeds is worth.

A seed draws the weights, the validation split, the order of the data and its augmentation, the latter three alike for
all variants. So differences are taken seed by seed (paired), their mean is tried by Student's t, and many comparisons
at once are held to Holm's bar.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import nct, t

LEVEL, POWER = 0.05, 0.8  # a false alarm once in 20, a true difference seen four times in 5
_MOST_SEEDS = 1000


@dataclass(frozen=True)
class Paired:
    """Differences of one variant from another, seed by seed, in points; `tests` such comparisons are made at once.

    `grain` is the least that two accuracies can differ by, one image of the test set: seeds whose differences happen
    to coincide are taken to spread as much as rounding to it would have them.
    """

    differences: tuple[float, ...]
    tests: int = 1
    grain: float = 0.0

    @property
    def seeds(self) -> int:
        return len(self.differences)

    @property
    def mean(self) -> float:
        return statistics.fmean(self.differences)

    @property
    def spread(self) -> float:
        """Standard deviation of the differences over seeds; nan for one seed."""
        if self.seeds < 2:
            return math.nan
        return max(statistics.stdev(self.differences), self.grain / math.sqrt(6))  # of two rounded numbers' difference

    @property
    def interval(self) -> tuple[float, float]:
        """Where the mean lies with 95 % confidence."""
        if self.seeds < 2:
            return -math.inf, math.inf
        half = float(t.ppf(1 - LEVEL / 2, self.seeds - 1)) * self.spread / math.sqrt(self.seeds)
        return self.mean - half, self.mean + half

    @property
    def p(self) -> float:
        """How often chance alone would give a mean as far from 0: the two-sided paired t-test, for itself alone."""
        if self.seeds < 2:
            return 1.0
        if self.spread == 0:
            return 1.0 if self.mean == 0 else 0.0
        return float(2 * t.sf(abs(self.mean) / self.spread * math.sqrt(self.seeds), self.seeds - 1))

    @property
    def needed(self) -> int | None:
        """Seeds that would see a difference such as this four times in five; None for more than 1,000, or unknown."""
        if self.seeds < 2 or self.mean == 0:
            return None
        low, high = 2, _MOST_SEEDS
        if self._seen(abs(self.mean), high) < POWER:
            return None
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if self._seen(abs(self.mean), middle) >= POWER else (middle + 1, high)
        return low

    @property
    def visible(self) -> float:
        """The smallest difference that this many seeds see four times in five; inf where they see none."""
        if self.seeds < 2 or self._seen(100.0, self.seeds) < POWER:
            return math.inf
        low, high = 0.0, 100.0
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (low, middle) if self._seen(middle, self.seeds) >= POWER else (middle, high)
        return high

    def _seen(self, difference: float, seeds: int) -> float:
        """The chance that so many seeds see a difference, were it real and the spread what it is here."""
        if self.spread == 0:
            return 1.0
        shift = difference / self.spread * math.sqrt(seeds)
        bar = float(t.ppf(1 - LEVEL / self.tests / 2, seeds - 1))
        if shift > bar + 30 or shift > 5 * bar:  # beyond what the noncentral distribution is computed for, and sure
            return 1.0
        return float(nct.sf(bar, seeds - 1, shift))

    def shows(self, corrected: float) -> bool:
        """Whether the difference is more than chance gives; `corrected` is p after Holm."""
        return any(self.differences) and abs(self.mean) >= 2 * self.grain and corrected < LEVEL

    def in_words(self, name: str, other: str, corrected: float) -> str:
        """What a newcomer should take from it; `corrected` is p after Holm."""
        way = "above" if self.mean > 0 else "below"
        if self.seeds < 2:
            return f"One seed has no spread: nothing can be said of {name} against {other}. Give --seeds 3 or more."
        if not any(self.differences):
            return f"{name} and {other} are alike in each of {self.seeds} seeds."
        if abs(self.mean) < 2 * self.grain:
            return f"{name} and {other} differ by less than two test images, on average over {self.seeds} seeds."
        if self.shows(corrected):
            low, high = self.interval
            return (
                f"{name} is {abs(self.mean):.2f} points {way} {other} over {self.seeds} seeds (95 % interval "
                f"{low:+.2f} to {high:+.2f}): more than chance gives."
            )
        enough = f"about {self.needed} would" if self.needed else f"more than {_MOST_SEEDS} would be needed"
        starts = f"starts at {self.visible:.1f} points" if self.visible < math.inf else "is no difference at all"
        return (
            f"{self.seeds} seeds cannot see a difference of {abs(self.mean):.2f} points here; {enough}. "
            f"({name}, {way} {other}; what {self.seeds} seeds would see {starts}.)"
        )


def holm(ps: Sequence[float]) -> list[float]:
    """p-values of several tests, corrected so that one false alarm in all of them is as rare as in one test."""
    corrected, worst = [0.0] * len(ps), 0.0
    for rank, i in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        worst = max(worst, min(1.0, (len(ps) - rank) * ps[i]))
        corrected[i] = worst
    return corrected


def mean_and_spread(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and standard deviation over seeds: nan for one."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else math.nan
