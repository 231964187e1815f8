"""What a comparison came to: a table, and what it shows in words."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from spikeformers.training.compare.budget import Price, steps_of
from spikeformers.training.compare.even import count_parameters
from spikeformers.training.compare.outcome import Outcome, read_outcome
from spikeformers.training.compare.paired import LEVEL, Paired, holm, mean_and_spread, pareto_front
from spikeformers.training.compare.picture import unit_of
from spikeformers.training.compare.plan import Run

PAGE = "index.html"
MARKS = "* no other has higher validation accuracy at no more energy; ! is a difference that is more than chance."


@dataclass(frozen=True)
class Row:
    """One variant, over its seeds. Spreads are standard deviations, nan for one seed; energy is in mJ an image."""

    variant: str
    parameters: int
    steps: int  # of training
    seeds: int
    validation: float
    validation_spread: float
    test: float
    test_spread: float
    against_first: float  # points of test accuracy, the mean over the seeds that both have
    p: float  # of that, after Holm; nan for the first
    ac: float
    mac: float
    millijoules: float
    firing: float
    train_images_per_second: float
    eval_images_per_second: float
    peak_mib: float  # of a training step, above the model
    minutes: float  # of a run, evaluation included
    on_front: bool  # no other has higher validation accuracy at no more energy


@dataclass(frozen=True)
class Report:
    """What a comparison came to: its rows by validation accuracy, notes in words, and every run."""

    folder: Path
    first: str
    rows: list[Row]
    notes: list[str]
    outcomes: list[Outcome]
    failed: Mapping[str, str]
    base: dict[str, Any]  # the settings that all runs share

    @property
    def page(self) -> Path:
        return self.folder / PAGE

    def describe(self) -> dict[str, Any]:
        """Everything as plain numbers; what is not known is null."""
        plain = {**asdict(self), "folder": str(self.folder)}
        return json.loads(json.dumps(plain), parse_constant=lambda name: None)

    def table(self) -> list[dict[str, str]]:
        """The table that people read: for each row its cells by their heads."""
        unit, size = unit_of([row.millijoules for row in self.rows])
        return [self._told(row, unit, size) for row in self.rows]

    def _told(self, row: Row, unit: str, size: float) -> dict[str, str]:
        is_first = row.variant == self.first
        return {
            "variant": row.variant + " *" * row.on_front,
            "parameters": f"{row.parameters:,}",
            "validation, %": _with_spread(row.validation, row.validation_spread),
            "test, %": _with_spread(row.test, row.test_spread),
            "against first": "the first" if is_first else f"{row.against_first:+.2f}" + " !" * (row.p < LEVEL),
            f"energy, {unit}": f"{row.millijoules / size:.4g}",
            "AC + MAC, M": f"{row.ac / 1e6:,.2f} + {row.mac / 1e6:,.2f}",
            "firing": f"{row.firing:.3f}",
            "images/s": f"{row.train_images_per_second:.0f} / {row.eval_images_per_second:.0f}",
            "MiB a step": f"{row.peak_mib:.0f}",
            "steps": f"{row.steps:,}",
            "minutes": f"{row.minutes:.1f}",
            "seeds": str(row.seeds),
        }


def make_report(
    folder: Path,
    runs: Sequence[Run],
    models: Mapping[str, Mapping[str, Any]],
    prices: Mapping[str, Price],
    images: int,
    failed: Mapping[str, str],
) -> Report:
    """What the finished runs came to.

    Raises ValueError where no run is finished.
    """
    outcomes = [read_outcome(run) for run in runs if run.finished]
    if not outcomes:
        raise ValueError(f"no run in {folder} came to its end: {next(iter(failed.values()), 'start it again')}")
    names = [name for name in models if any(outcome.variant == name for outcome in outcomes)]
    first, against = names[0], {}
    for name in names[1:]:
        differences = _differences(outcomes, name, first)
        if differences:
            against[name] = Paired(differences, tests=len(names) - 1)
    corrected = dict(zip(against, holm([paired.p for paired in against.values()]), strict=True))
    recipes = {run.variant: run.recipe for run in runs}
    plain = [
        _row(name, outcomes, against.get(name), corrected.get(name, math.nan), prices[name], models[name],
             steps_of(recipes[name], images), recipes[name].batch_size, images)
        for name in names
    ]  # fmt: skip
    front = {names[i] for i in pareto_front([r["millijoules"] for r in plain], [r["validation"] for r in plain])}
    rows = [Row(**row, on_front=row["variant"] in front) for row in plain]
    notes = [paired.in_words(name, first, corrected[name]) for name, paired in against.items()]
    if any(paired.seeds > 1 for paired in against.values()):
        notes.append(_how(len(against)))
    settings = [run.recipe.to_dict() for run in runs]
    shared = {key: value for key, value in settings[0].items() if all(other[key] == value for other in settings)}
    del shared["out"]
    rows.sort(key=lambda row: -row.validation)
    return Report(folder, first, rows, notes, outcomes, dict(failed), shared)


def _differences(outcomes: Sequence[Outcome], name: str, first: str) -> tuple[float, ...]:
    """Points of test accuracy that a variant has more than the first, at the seeds that both have."""
    tests = {(outcome.variant, outcome.seed): outcome.test for outcome in outcomes}
    return tuple(test - tests[first, seed] for (v, seed), test in tests.items() if v == name and (first, seed) in tests)


def _row(
    name: str,
    outcomes: Sequence[Outcome],
    paired: Paired | None,
    p: float,
    price: Price,
    model: Mapping[str, Any],
    steps: int,
    batch_size: int,
    images: int,
) -> dict[str, Any]:
    own = [outcome for outcome in outcomes if outcome.variant == name]

    def mean(key: str) -> float:
        return mean_and_spread([getattr(outcome, key) for outcome in own])[0]

    validation, test = (mean_and_spread([getattr(o, key) for o in own]) for key in ("validation", "test"))
    batch = min(batch_size, images)
    return {
        "variant": name, "parameters": count_parameters(model), "steps": steps, "seeds": len(own),
        "validation": validation[0], "validation_spread": validation[1], "test": test[0], "test_spread": test[1],
        "against_first": paired.mean if paired else math.nan, "p": p,
        "ac": mean("ac"), "mac": mean("mac"), "firing": mean("firing"), "minutes": mean("minutes"),
        "millijoules": mean_and_spread([outcome.millijoules["strict"] for outcome in own])[0],
        "train_images_per_second": batch / price.seconds, "eval_images_per_second": batch / price.evaluation,
        "peak_mib": price.peak,
    }  # fmt: skip


def _how(comparisons: int) -> str:
    several = f", corrected by Holm for {comparisons} comparisons" if comparisons > 1 else ""
    return (
        "Differences are in test accuracy, taken seed by seed, as all variants of a seed share split, order and "
        f"augmentation (paired t-test, 5 %{several}); the seeds that would be needed are for seeing the difference "
        "four times in five. The spread of so few seeds is itself a rough guess, and another test set would add its "
        "own."
    )


def _with_spread(mean: float, spread: float) -> str:
    return f"{mean:.2f}" if math.isnan(spread) else f"{mean:.2f} ± {spread:.2f}"
