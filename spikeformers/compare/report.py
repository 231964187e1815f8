"""The report of a comparison: a table, and conclusions in words."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from spikeformers.analysis.report_kit.units import unit_of
from spikeformers.compare.budget import Price, steps_of
from spikeformers.compare.effects import effects_in_words
from spikeformers.compare.even import count_parameters
from spikeformers.compare.front import differences, find_front, find_gains, what_energy_lacks, why_in_front
from spikeformers.compare.outcome import Outcome, read_outcome
from spikeformers.compare.paired import Paired, holm, mean_and_spread
from spikeformers.compare.plan import Run
from spikeformers.training.provenance import describe_start
from spikeformers.training.resume import flat_settings

PAGE = "index.html"


@dataclass(frozen=True)
class Row:
    """One variant over its seeds. Spreads are standard deviations, nan for one seed; energy is in mJ per image."""

    variant: str
    model: dict[str, Any]  # settings of the model that not all variants share
    parameters: int
    steps: int  # of training
    seeds: int
    validation: float
    validation_spread: float
    test: float
    test_spread: float
    against_first: float  # mean difference of the test score over common seeds, in points
    p: float  # of that difference, uncorrected; nan for the first
    p_holm: float  # corrected for several comparisons
    more_than_chance: bool
    ac: float
    mac: float
    millijoules: float
    millijoules_spread: float
    firing: float
    train_images_per_second: float
    eval_images_per_second: float
    peak_mib: float  # of a training step, beyond the model
    minutes: float  # of a run, including evaluation
    on_front: bool  # it beats another in test score or energy, and none beats it in one without losing the other


@dataclass(frozen=True)
class Report:
    """The result of a comparison. The first variant has the first row; the others follow by validation score.

    `measure` names the score, "accuracy", "mAP50" or "mIoU", and `chosen_by` the one that chose each run's epoch.
    """

    folder: Path
    first: str
    measure: str
    chosen_by: str
    rows: list[Row]
    notes: list[str]
    outcomes: list[Outcome]
    failed: Mapping[str, str]
    base: dict[str, Any]  # the settings that all runs share, by dotted names
    even: str | None  # the argument that evened out parameters
    made: dict[str, Any]  # command, machine and versions

    @property
    def page(self) -> Path:
        return self.folder / PAGE

    @property
    def marks(self) -> str:
        """What the marks in the table mean."""
        return (
            f"! marks a difference in test {self.measure} that is more than chance; * marks a variant that beats "
            f"another in test {self.measure} or energy by more than chance, and that no other beats in one without "
            "being worse in the other."
        )

    def describe(self) -> dict[str, Any]:
        """Everything as plain numbers; unknown values are null."""
        plain = {**asdict(self), "folder": str(self.folder)}
        return json.loads(json.dumps(plain), parse_constant=lambda name: None)

    def table(self) -> list[dict[str, str]]:
        """The printed table: for each row its cells by column."""
        unit, size = unit_of([row.millijoules for row in self.rows])
        return [self._cells(row, unit, size) for row in self.rows]

    def _cells(self, row: Row, unit: str, size: float) -> dict[str, str]:
        is_first = row.variant == self.first
        return {
            "variant": row.variant + " *" * row.on_front,
            **({self.even: str(row.model[self.even])} if self.even else {}),
            "parameters": f"{row.parameters:,}",
            f"validation {self.measure}, %": _with_spread(row.validation, row.validation_spread),
            f"test {self.measure}, %": _with_spread(row.test, row.test_spread),
            "against first": "the first" if is_first else _points(row.against_first) + " !" * row.more_than_chance,
            f"energy, {unit}": _with_spread(row.millijoules / size, row.millijoules_spread / size, ".4g"),
            "AC + MAC, M": f"{row.ac / 1e6:,.3g} + {row.mac / 1e6:,.3g}",
            "firing": "-" if math.isnan(row.firing) else f"{row.firing:.3f}",
            "training, images/s": f"{row.train_images_per_second:,.0f}",
            "evaluation, images/s": f"{row.eval_images_per_second:,.0f}",
            "MiB per step": f"{row.peak_mib:.0f}",
            "steps": f"{row.steps:,}",
            "seeds": str(row.seeds),
        }


def make_report(
    folder: Path,
    runs: Sequence[Run],
    models: Mapping[str, Mapping[str, Any]],
    prices: Mapping[str, Price],
    images: int,
    failed: Mapping[str, str],
    even: str | None = None,
) -> Report:
    """The report on the finished runs. Raises ValueError if there are none."""
    outcomes = [read_outcome(run) for run in runs if run.finished]
    if not outcomes:
        raise ValueError(f"no run in {folder} finished: {next(iter(failed.values()), 'start it again')}")
    names = [name for name in models if any(outcome.variant == name for outcome in outcomes)]
    first, measure = next(iter(models)), runs[0].measure
    grain = measure.grain(outcomes[0].test_images)
    against = {
        name: Paired(found, len(models) - 1, grain)
        for name in names
        if name != first and (found := differences(outcomes, name, first))
    }
    corrected = dict(zip(against, holm([paired.p for paired in against.values()]), strict=True))
    all_settings = [flat_settings(run.recipe.to_dict()) for run in runs]
    settings, shared = {run.variant: own for run, own in zip(runs, all_settings, strict=True)}, _shared(all_settings)
    recipes = {run.variant: run.recipe for run in runs}
    gains = find_gains(outcomes, names, first, corrected, grain, measure.name)
    front = find_front(gains)
    evened = {name: {even: models[name].get(even)} if even else {} for name in names}
    plain = [
        {"variant": name, "model": _of_model(settings[name], shared) | evened[name],
         "p_holm": corrected.get(name, math.nan),
         "more_than_chance": name in against and against[name].shows(corrected[name]), "on_front": name in front,
         "parameters": count_parameters(models[name]), "steps": steps_of(recipes[name], images)}
        | _over_seeds(name, outcomes, against.get(name))
        | _speeds(prices[name], min(recipes[name].batch_size, images))
        for name in names
    ]  # fmt: skip
    rows = [Row(**row) for row in plain]
    rows.sort(key=lambda row: (row.variant != first, -row.validation))
    notes = [paired.in_words(name, first, corrected[name]) for name, paired in against.items()]
    notes += [why_in_front(name, gains[name]) for name in front] + effects_in_words(runs, outcomes, grain)
    notes += what_energy_lacks(outcomes, names)
    if first not in names:
        notes.append(f"{first}, the first variant, failed with all its seeds: nothing can be compared with it.")
    if max(row.validation for row in rows) < 1.5 * measure.guessing(models[first]["num_classes"]):
        notes.append("No variant does much better than guessing: train longer before you draw conclusions.")
    if any(paired.seeds > 1 for paired in against.values()):
        notes.append(_how(len(against), measure.name))
    del shared["out"]
    about = first, measure.name, measure.best_name
    return Report(folder, *about, rows, notes, outcomes, dict(failed), shared, even, _made(runs[0]))


def _shared(settings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    first, *others = settings
    return {key: value for key, value in first.items() if all(o.get(key) == value and key in o for o in others)}


def _of_model(settings: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    own = {key: value for key, value in settings.items() if key.startswith("model.") and key not in shared}
    return {key.removeprefix("model."): value for key, value in own.items()}


def _made(run: Run) -> dict[str, Any]:
    start = describe_start(run.recipe)
    packages = {name: start["packages"].get(name) for name in ("spikeformers", "torch", "lightning", "timm")}
    kept = ("command", "started", "python", "platform", "device", "git")
    return {key: start[key] for key in kept} | {"packages": packages, "threads": torch.get_num_threads()}


def _over_seeds(name: str, outcomes: Sequence[Outcome], paired: Paired | None) -> dict[str, Any]:
    """The fields of a row that summarise its runs."""
    own = [outcome for outcome in outcomes if outcome.variant == name]

    def over_seeds(key: str) -> tuple[float, float]:
        return mean_and_spread([getattr(outcome, key) for outcome in own])

    (validation, validation_spread), (test, test_spread) = over_seeds("validation"), over_seeds("test")
    means = {key: fmean(getattr(outcome, key) for outcome in own) for key in ("ac", "mac", "firing", "minutes")}
    return {
        "seeds": len(own), **means,
        "validation": validation, "validation_spread": validation_spread, "test": test, "test_spread": test_spread,
        "against_first": paired.mean if paired else math.nan, "p": paired.p if paired else math.nan,
        **dict(zip(("millijoules", "millijoules_spread"),
                   mean_and_spread([outcome.millijoules["strict"] for outcome in own]), strict=True)),
    }  # fmt: skip


def _speeds(price: Price, batch: int) -> dict[str, Any]:
    """The fields of a row on speed and memory."""
    return {
        "train_images_per_second": batch / price.seconds,
        "eval_images_per_second": batch / price.evaluation,
        "peak_mib": price.peak,
    }


def _points(difference: float) -> str:
    return "" if math.isnan(difference) else f"{difference:+.2f}"


def _how(comparisons: int, measure: str) -> str:
    several = f", corrected by Holm for {comparisons} comparisons" if comparisons > 1 else ""
    return (
        f"Differences in test {measure} are paired by seed, because all variants of a seed share split, order and "
        f"augmentation (t-test, 5 %{several}). The number of seeds needed is the one that detects the difference four "
        "times in five. A spread over so few seeds is itself a rough estimate, and another test set would add a "
        "spread of its own."
    )


def _with_spread(mean: float, spread: float, form: str = ".2f") -> str:
    of_spread = form if form.endswith("f") else ".2g"
    return f"{mean:{form}}" if math.isnan(spread) else f"{mean:{form}} ± {spread:{of_spread}}"
