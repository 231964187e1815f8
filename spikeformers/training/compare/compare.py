"""A comparison from its first word to its report."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from spikeformers.data import load_sets
from spikeformers.models.sdt_v3_mae import MaskedAutoencoder
from spikeformers.training.compare.budget import Budget, batches_of, measured_prices, spent
from spikeformers.training.compare.even import evened
from spikeformers.training.compare.plan import Run, combinations, recipe_of
from spikeformers.training.compare.report import Report, make_report
from spikeformers.training.compare.report_files import write_report
from spikeformers.training.compare.train_all import Told, devices, train_all
from spikeformers.training.prepare import prepare
from spikeformers.training.recipe import Recipe

PRICES = "prices.json"

Watch = Callable[[Sequence[Run]], AbstractContextManager[Told]]


def _unwatched(runs: Sequence[Run]) -> AbstractContextManager[Told]:
    return nullcontext(lambda run, failure: None)


def compare(
    base: Recipe,
    swaps: Mapping[str, Sequence[Any]],
    *,
    seeds: int | Sequence[int] = 3,
    budget: Budget | None = None,
    even: str | None = None,
    jobs: int | None = None,
    name: str | None = None,
    watch: Watch = _unwatched,
    say: Callable[[str], None] = lambda line: None,
) -> Report:
    """Trains every combination of parts alike, over the same seeds, and leaves a report in `base.out/name/`.

        compare(base_recipe("digits"), {"attention": ["SSA", "SDSA"], "neuron": ["LIF", "PLIF"]}, seeds=3)

    The first combination is what the others are told against. `seeds` are counted from the recipe's, or given one by
    one. `even` names a number of the model that is moved until all have about the first's parameters. `jobs` runs
    train at once; the default is one a GPU. What is finished is skipped, what was interrupted goes on. `watch` is told
    of runs, `say` of what goes on between them.

    Raises ValueError or FileNotFoundError, in one line with the combination's name, for what does not fit, before
    anything is trained, and at the end for runs that failed; KeyboardInterrupt after Ctrl-C, with checkpoints saved.
    """
    chosen = [*range(base.seed, base.seed + seeds)] if isinstance(seeds, int) else [*seeds]
    if not chosen or len({*chosen}) < len(chosen):
        raise ValueError(f"seeds {seeds} are none, or one of them twice: give a number of them, as 3")
    if (jobs := devices() if jobs is None else jobs) < 1:
        raise ValueError(f"jobs {jobs} is below 1: nothing would be trained")
    folder = Path(base.out) / (name or f"compare-{base.run}")
    variants = combinations(base.model, swaps)

    say("trying out every combination")
    sets = load_sets(asdict(base.data), seed=base.seed)
    images, validated = len(sets.train), len(sets.validation)  # pyright: ignore[reportArgumentType]
    if not validated:
        raise ValueError("there are no validation images to choose epochs by: cut some, as by --data.validation 0.1")
    if even:
        ends = {"num_classes": len(sets.classes), "in_channels": sets.channels}
        variants = evened(variants, even, ends)
    ready = {}
    for variant in variants:
        try:
            ready[variant.name] = prepare(recipe_of(base, variant.model, folder, variant.name, chosen[0]), sets)
        except ValueError as error:
            raise ValueError(f"{variant.name}: {error}") from error
        if isinstance(ready[variant.name].model, MaskedAutoencoder):
            raise ValueError(f"{base.model['name']} learns without labels: it has no accuracy to compare")

    say("measuring speed and memory, in turns")
    prices = measured_prices(ready, folder / PRICES)
    runs = []
    for seed in chosen:  # all variants at one seed, then the next: what is there is comparable at any time
        for variant in variants:
            recipe = recipe_of(base, variant.model, folder, variant.name, seed)
            recipe = spent(recipe, budget or Budget(), prices[variant.name], batches_of(recipe, images))
            runs.append(Run(variant.name, recipe))
    for run in runs:
        run.check_resumable()
    configs = {name: prepared.model.config for name, prepared in ready.items()}
    ready.clear()  # models leave the device
    try:
        with watch(runs) as told:
            failed = train_all(runs, jobs, told)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted: the same words again go on with {folder}") from None

    say("counting operations and energy on validation images")
    report = make_report(folder, runs, configs, prices, images, failed)
    write_report(report)
    if failed:
        first, why = next(iter(failed.items()))
        raise ValueError(f"{len(failed)} of {len(runs)} runs failed, the first {first}: {why}; {folder} has the rest")
    return report
