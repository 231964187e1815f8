"""Which variants are better than others in score or energy, by more than chance, and which of them no other beats."""

import itertools
from collections.abc import Callable, Mapping, Sequence

from spikeformers.compare.outcome import Outcome
from spikeformers.compare.paired import Paired


def differences(
    outcomes: Sequence[Outcome], name: str, other: str, of: Callable[[Outcome], float] = lambda outcome: outcome.test
) -> tuple[float, ...]:
    """Differences between two variants at their common seeds, in test score unless `of` selects another number."""
    values = {(outcome.variant, outcome.seed): of(outcome) for outcome in outcomes}
    return tuple(v - values[other, seed] for (n, seed), v in values.items() if n == name and (other, seed) in values)


Gains = dict[str, dict[str, list[str]]]  # for each variant and each other one, the respects in which it is better


def find_gains(
    outcomes: Sequence[Outcome],
    names: Sequence[str],
    first: str,
    corrected: Mapping[str, float],
    grain: float,
    measure: str = "accuracy",
) -> Gains:
    """Where variants are better than others, in test score, named by `measure`, or energy, by more than chance.

    The test is that of the notes: Holm's p for a score against the first, otherwise p times the number of pairs.
    A variant with operations of unknown cost is not compared by energy.
    """
    unknown = {outcome.variant for outcome in outcomes if outcome.uncounted}
    several = len(names) * (len(names) - 1) // 2

    def better(one: str, other: str, of: Callable[[Outcome], float], grain: float, noted: float | None) -> bool:
        if not (points := differences(outcomes, one, other, of)):
            return False
        paired = Paired(points, several, grain)
        return paired.mean > 0 and paired.shows(several * paired.p if noted is None else noted)

    gains: Gains = {one: {} for one in names}
    for one, other in itertools.permutations(names, 2):
        noted = corrected.get(other if one == first else one) if first in (one, other) else None
        scores = better(one, other, lambda outcome: outcome.test, grain, noted)
        saves = not unknown & {one, other} and better(
            one, other, lambda outcome: -outcome.millijoules["strict"], 0.0, None
        )
        gains[one][other] = [f"a higher test {measure}"] * scores + ["less energy"] * saves
    return gains


def find_front(gains: Gains) -> list[str]:
    """The Pareto front: variants that beat another, and lose in one measure only to those worse in the other."""
    return [
        one
        for one, than in gains.items()
        if any(than.values()) and not any(gains[other][one] and not than[other] for other in than)
    ]


def why_in_front(name: str, gains: Mapping[str, Sequence[str]]) -> str:
    """Why a variant has a star, in a sentence."""
    by_gain: dict[str, list[str]] = {}
    for other, gain in gains.items():
        if gain:
            by_gain.setdefault(" and ".join(gain), []).append(other)
    reasons = "; ".join(f"{gain} than {', '.join(others)}" for gain, others in by_gain.items())
    return f"{name} has its * for {reasons}, by more than chance."


def what_energy_lacks(outcomes: Sequence[Outcome], names: Sequence[str]) -> list[str]:
    """A sentence for each variant with operations of unknown cost."""
    lacks = {
        name: {one for outcome in outcomes if outcome.variant == name for one in outcome.uncounted} for name in names
    }
    return [
        f"The energy of {name} lacks {', '.join(sorted(unknown))}, whose cost is unknown, so it is compared with none."
        for name, unknown in lacks.items()
        if unknown
    ]
