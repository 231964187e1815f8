"""Main effects: a swapped value against its swap's first, averaged over all combinations of the other swaps."""

from collections.abc import Mapping, Sequence

from spikeformers.compare.outcome import Outcome
from spikeformers.compare.paired import Paired, holm
from spikeformers.compare.plan import Run


def effects_in_words(runs: Sequence[Run], outcomes: Sequence[Outcome], grain: float) -> list[str]:
    """A sentence for each value of each swap, compared with the swap's first value; none for a single swap.

    For each seed, the difference is a mean over all combinations of the other swaps. It averages several pairs, so it
    needs fewer seeds than a comparison of two variants. Only seeds with all runs finished count.
    """
    chosen = {run.variant: run.chosen for run in runs}
    swaps = {argument: list(dict.fromkeys(c[argument] for c in chosen.values())) for argument in runs[0].chosen}
    if len(swaps) < 2:
        return []
    tests: dict[int, dict[str, float]] = {}
    for outcome in outcomes:
        tests.setdefault(outcome.seed, {})[outcome.variant] = outcome.test
    whole = [accuracies for accuracies in tests.values() if accuracies.keys() == chosen.keys()]
    if not whole:
        return []
    pairs = [(argument, value, values[0]) for argument, values in swaps.items() for value in values[1:]]
    found = []
    for swap, value, first in pairs:
        differences = (_mean(one, chosen, swap, value) - _mean(one, chosen, swap, first) for one in whole)
        found.append(Paired(tuple(differences), len(pairs), grain))
    corrected = holm([paired.p for paired in found])
    return [
        f"Over {_all_of([other for other in swaps if other != swap])}: {paired.in_words(value, first, p)}"
        for (swap, value, first), paired, p in zip(pairs, found, corrected, strict=True)
    ]


def _mean(tests: Mapping[str, float], chosen: Mapping[str, Mapping[str, str]], argument: str, value: str) -> float:
    own = [test for variant, test in tests.items() if chosen[variant][argument] == value]
    return sum(own) / len(own)


def _all_of(arguments: Sequence[str]) -> str:
    return "all of " + " and ".join(arguments)
