"""A whole comparison: planning and checking, training, and the report."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from spikeformers.compare.budget import (
    Budget,
    Price,
    batches_of,
    keep_prices,
    measured_prices,
    spent,
    steps_of,
)
from spikeformers.compare.even import count_parameters, evened
from spikeformers.compare.plan import Run, Variant, combinations, recipe_of
from spikeformers.compare.report import Report, make_report
from spikeformers.compare.report_files import write_report
from spikeformers.compare.train_all import OnEnd, devices, train_all
from spikeformers.data import load_sets
from spikeformers.files import check_output, held
from spikeformers.training.optim import check_schedule, total_epochs
from spikeformers.training.prepare import Prepared, prepare
from spikeformers.training.provenance import COMPARISON
from spikeformers.training.recipe import Recipe
from spikeformers.training.trainer import check_processes

Watch = Callable[[Sequence[Run]], AbstractContextManager[OnEnd]]
Say = Callable[[str], None]


def _unwatched(runs: Sequence[Run]) -> AbstractContextManager[OnEnd]:
    return nullcontext(lambda run, failure: None)


def compare(
    base: Recipe,
    swaps: Mapping[str, Sequence[Any]],
    *,
    watch: Watch = _unwatched,
    say: Say = lambda line: None,
    **how: Any,
) -> Report:
    """Trains every combination of parts alike, over the same seeds, and writes a report to `base.out/name/`.

        compare(base_recipe("digits"), {"attention": ["SSA", "SDSA"], "neuron": ["LIF", "PLIF"]}, seeds=3)

    Finished runs are skipped, interrupted ones resume, and failed ones are in the report with the reason.

    Args:
        base: The recipe that all combinations share.
        swaps: For each argument of the model, the values to try.
        watch: Called as runs make progress.
        say: Called with lines on what happens between runs.
        **how: Further arguments of `plan_comparison`.

    Returns:
        The report, as also written to the folder.

    Raises:
        ValueError: As `plan_comparison` and `Comparison.run`.
        FileNotFoundError: As `plan_comparison`.
    """
    return plan_comparison(base, swaps, say=say, **how).run(watch, say)


@dataclass(frozen=True)
class Comparison:
    """A planned comparison, with all combinations checked and priced. Nothing is written yet."""

    folder: Path
    runs: list[Run]
    ready: dict[str, Prepared]  # by variant
    prices: dict[str, Price]
    even: str | None
    images: int  # training images
    jobs: int

    @property
    def minutes(self) -> float:
        """Minutes for the training steps of all unfinished runs, interrupted ones counted from their start."""
        left = [run for run in self.runs if not run.finished]
        return (
            sum(steps_of(run.recipe, self.images) * self.prices[run.variant].seconds for run in left) / self.jobs / 60
        )

    def table(self) -> list[dict[str, str]]:
        """The plan as a table: for each variant its cells by column."""
        return [self._row(name, [run for run in self.runs if run.variant == name]) for name in self.prices]

    def _row(self, name: str, runs: Sequence[Run]) -> dict[str, str]:
        price, steps, model = self.prices[name], steps_of(runs[0].recipe, self.images), self.ready[name].model.config
        return {
            "variant": name,
            **({self.even: str(model[self.even])} if self.even else {}),
            "parameters": f"{count_parameters(model):,}",
            "epochs": str(total_epochs(runs[0].recipe)),
            "steps": f"{steps:,}",
            "FLOPs": f"{steps * price.flops:.3g}",
            "MiB per step": f"{price.peak:.0f}",
            "minutes": f"{steps * price.seconds / 60:.1f}",
            "seeds": str(len(runs)),
        }

    def run(self, watch: Watch = _unwatched, say: Say = lambda line: None) -> Report:
        """Trains the unfinished runs and writes the report.

        Raises ValueError if another comparison uses the folder or no run finished, KeyboardInterrupt after Ctrl-C, with
        checkpoints saved.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        in_use = f"another comparison is running in {self.folder}: wait for it, or name another with --name NAME"
        with held(self.folder, in_use):
            return self._run(watch, say)

    def _run(self, watch: Watch, say: Say) -> Report:
        keep_prices(self.prices, self.ready, self.folder / COMPARISON)
        configs = {name: prepared.model.config for name, prepared in self.ready.items()}
        self.ready.clear()  # models leave the device
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        try:
            with watch(self.runs) as on_end:
                failed = train_all(self.runs, self.jobs, on_end)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"interrupted: the same command continues {self.folder}") from None
        say("counting operations and energy on validation images")
        report = make_report(self.folder, self.runs, configs, self.prices, self.images, failed, self.even)
        write_report(report)
        return report


def plan_comparison(
    base: Recipe,
    swaps: Mapping[str, Sequence[Any]],
    *,
    seeds: int | Sequence[int] = 3,
    budget: Budget | None = None,
    even: str | None = None,
    jobs: int | None = None,
    name: str | None = None,
    say: Say = lambda line: None,
) -> Comparison:
    """Plans a comparison: builds every combination of parts, tries it out and measures what its training costs.

    Args:
        base: The recipe that all combinations share.
        swaps: For each argument of the model, the values to try. The others are compared with the first combination.
        seeds: The number of seeds, counting up from the recipe's, or the seeds themselves.
        budget: What each run may cost; None means the recipe's epochs.
        even: A number among the model's arguments, adjusted until all combinations have about as many parameters as
            the first.
        jobs: How many runs train at once; None means one per GPU, or one without a GPU.
        name: The comparison's folder inside `base.out`; None takes `compare-` and the recipe's name.
        say: Called with lines on what is being done.

    Returns:
        The comparison, ready to `run`; nothing is written yet.

    Raises:
        ValueError: A setting or a combination, which the message names, does not fit.
        FileNotFoundError: Data or a file of parts is missing.
    """
    chosen = [*range(base.seed, base.seed + seeds)] if isinstance(seeds, int) else [*seeds]
    if not chosen or len({*chosen}) < len(chosen):
        raise ValueError(f"seeds {seeds} must be a number above 0, such as 3, or a list without repetition")
    _check_trainer(base)
    if (jobs := devices(base) if jobs is None else jobs) < 1:
        raise ValueError(f"jobs {jobs} is below 1: give at least 1")
    check_processes("jobs", jobs, base.oversubscribe)
    folder = Path(base.out) / (name or f"compare-{base.run}")
    check_output("--out", folder, folder=True)
    variants = combinations(base.model, swaps)

    say("checking every combination")
    sets = load_sets(asdict(base.data), seed=base.seed)
    images, validated = len(sets.train), len(sets.validation)
    if not validated:
        raise ValueError("there are no validation images to select epochs by: split some off, --data.validation 0.1")
    if even:
        ends = {"num_classes": len(sets.classes), "in_channels": sets.channels}
        variants = evened(variants, even, ends)
    ready = {v.name: _tried(v, recipe_of(base, v.model, folder, v.name, chosen[0]), sets) for v in variants}
    batches_of(base, images)  # raises now for a limit that leaves none

    say("measuring speed and memory, in turns")
    prices = measured_prices(ready, folder / COMPARISON, jobs)
    runs = []
    for seed in chosen:  # all variants at one seed, then the next, so that partial results are comparable
        for variant in variants:
            recipe = recipe_of(base, variant.model, folder, variant.name, seed)
            recipe = spent(recipe, budget or Budget(), prices[variant.name], batches_of(recipe, images))
            _check_schedule(variant, recipe, images)
            runs.append(Run(variant.name, recipe, variant.chosen, ready[variant.name].module.objective.measure))
    for run in runs:
        run.check_resumable()
    return Comparison(folder, runs, ready, prices, even, images, jobs)


def _check_trainer(base: Recipe) -> None:
    """Raises ValueError for runs of several processes or on named devices, which `jobs` and the measured prices know
    nothing of, and for limits that leave no validation or that a budget cannot replace."""
    for key in ("devices", "num_nodes"):
        if str(asked := base.trainer.get(key, 1)) != "1":
            raise ValueError(
                f"trainer.{key} {asked}: a comparison trains each run on one device; leave it out, and set --jobs, or "
                "CUDA_VISIBLE_DEVICES to choose devices"
            )
    if base.trainer.get("limit_val_batches") == 0:
        raise ValueError("trainer.limit_val_batches 0: a comparison selects epochs by validation; leave it out")


def _check_schedule(variant: Variant, recipe: Recipe, images: int) -> None:
    """Raises ValueError if the epochs that a budget leaves are too few for the schedule or for a validation."""
    every = recipe.trainer.get("check_val_every_n_epoch", 1)
    if every is None or every > total_epochs(recipe):
        raise ValueError(
            f"{variant.name}: trainer.check_val_every_n_epoch {'null' if every is None else every} may leave "
            f"{total_epochs(recipe)} epochs without validation, by which a comparison selects epochs: leave it out"
        )
    try:
        check_schedule(recipe, math.ceil(batches_of(recipe, images) / recipe.accumulate))
    except ValueError as error:
        raise ValueError(f"{variant.name}: {error}") from error


def _tried(variant: Variant, recipe: Recipe, sets: Any) -> Prepared:
    try:
        prepared = prepare(recipe, sets)
    except ValueError as error:
        raise ValueError(f"{variant.name}: {error}") from error
    if not prepared.module.objective.labelled:
        raise ValueError(f"{recipe.model['name']} trains without labels, so there is no score to compare")
    return prepared
