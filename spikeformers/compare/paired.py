"""Testing whether a difference over a few seeds is more than chance.

A seed sets the weights, the validation split, the order of the data and its augmentation, the latter three equally for
all variants. So differences are taken seed by seed (paired) and tested with Student's t, with Holm's correction for
several comparisons.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import nct, t

LEVEL, POWER = 0.05, 0.8  # a false alarm once in 20; a true difference detected four times in 5
_MOST_SEEDS = 1000


@dataclass(frozen=True)
class Paired:
    """Differences between two variants, seed by seed, in points, as one of `tests` comparisons.

    `grain` is the smallest possible difference of two accuracies, one test image. If all seeds happen to differ
    equally, their spread is taken to be that of rounding to the grain.
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
        return max(
            statistics.stdev(self.differences), self.grain / math.sqrt(6)
        )  # of a difference of two rounded numbers

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % confidence interval of the mean."""
        if self.seeds < 2:
            return -math.inf, math.inf
        half = float(t.ppf(1 - LEVEL / 2, self.seeds - 1)) * self.spread / math.sqrt(self.seeds)
        return self.mean - half, self.mean + half

    @property
    def p(self) -> float:
        """The p-value of the two-sided paired t-test, uncorrected."""
        if self.seeds < 2:
            return 1.0
        if self.spread == 0:
            return 1.0 if self.mean == 0 else 0.0
        return float(2 * t.sf(abs(self.mean) / self.spread * math.sqrt(self.seeds), self.seeds - 1))

    @property
    def needed(self) -> int | None:
        """Seeds that would detect this difference four times in five; None if above 1,000 or unknown."""
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
        """The smallest difference that this number of seeds detects four times in five; inf if none."""
        if self.seeds < 2 or self._seen(100.0, self.seeds) < POWER:
            return math.inf
        low, high = 0.0, 100.0
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (low, middle) if self._seen(middle, self.seeds) >= POWER else (middle, high)
        return high

    def _seen(self, difference: float, seeds: int) -> float:
        """The probability that this number of seeds detects a true difference, given the observed spread."""
        if self.spread == 0:
            return 1.0
        shift = difference / self.spread * math.sqrt(seeds)
        bar = float(t.ppf(1 - LEVEL / self.tests / 2, seeds - 1))
        if shift > bar + 30 or shift > 5 * bar:  # beyond what the noncentral distribution is computed for, and sure
            return 1.0
        return float(nct.sf(bar, seeds - 1, shift))

    def shows(self, corrected: float) -> bool:
        """Whether the difference is more than chance. `corrected` is p after Holm's correction."""
        return any(self.differences) and abs(self.mean) >= 2 * self.grain and corrected < LEVEL

    def in_words(self, name: str, other: str, corrected: float) -> str:
        """The result in a sentence. `corrected` is p after Holm's correction."""
        way = "above" if self.mean > 0 else "below"
        if self.seeds < 2:
            return f"One seed cannot tell whether {name} differs from {other} by chance: give --seeds 3 or more."
        if not any(self.differences):
            return f"{name} and {other} score the same with each of {self.seeds} seeds."
        if abs(self.mean) < 2 * self.grain:
            return f"{name} and {other} differ by less than two test images, on average over {self.seeds} seeds."
        if self.shows(corrected):
            low, high = self.interval
            return (
                f"{name} is {abs(self.mean):.2f} points {way} {other} over {self.seeds} seeds (95 % interval "
                f"{low:+.2f} to {high:+.2f}): more than chance gives."
            )
        enough = f"about {self.needed} could" if self.needed else f"more than {_MOST_SEEDS} would be needed"
        least = f"{self.visible:.1f} points or more" if self.visible < math.inf else "no difference at all"
        return (
            f"{self.seeds} seeds cannot detect a difference of {abs(self.mean):.2f} points here; {enough}. "
            f"({name} is {way} {other}; {self.seeds} seeds can detect {least}.)"
        )


def holm(ps: Sequence[float]) -> list[float]:
    """p-values of several tests with Holm's correction: any false alarm is as rare as in a single test."""
    corrected, worst = [0.0] * len(ps), 0.0
    for rank, i in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        worst = max(worst, min(1.0, (len(ps) - rank) * ps[i]))
        corrected[i] = worst
    return corrected


def mean_and_spread(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation, nan for a single value."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else math.nan
