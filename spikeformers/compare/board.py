"""The live table of a comparison: a row a variant, a column a seed, from what the runs have written so far."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from spikeformers.compare.outcome import metrics_of
from spikeformers.compare.plan import Run
from spikeformers.compare.train_all import Told
from spikeformers.training.optim import total_epochs


def live_board(console: Any, jobs: int) -> Callable[[Sequence[Run]], Any]:
    """What `compare` takes as `watch`: a table that follows the runs, or a line a run where there is no terminal."""

    @contextmanager
    def watch(runs: Sequence[Run]) -> Iterator[Told]:
        from rich.live import Live

        failures: dict[str, str] = {}
        started, done = time.time(), sum(run.finished for run in runs)

        def told(run: Run, failure: str | None) -> None:
            nonlocal done
            if failure:
                failures[str(run.recipe.run)] = failure
            else:
                done += 1
            if failure or not console.is_terminal:
                said = f"{run.recipe.run}: {failure or state(run, failures)} ({done} of {len(runs)} runs done)"
                console.print(said, markup=False, highlight=False)

        if not console.is_terminal:
            yield told
            return
        with Live(
            get_renderable=lambda: table_of(runs, failures, started, jobs), console=console, refresh_per_second=1
        ):
            yield told

    return watch


def table_of(runs: Sequence[Run], failures: dict[str, str], started: float, jobs: int) -> Any:
    """The table as it stands. It shows validation accuracy only: nobody should choose by the test set."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    seeds = list(dict.fromkeys(run.recipe.seed for run in runs))
    table = Table(box=SIMPLE_HEAD, pad_edge=False, caption=_caption(runs, failures, started, jobs))
    for head in ("variant", *(f"seed {seed}" for seed in seeds)):
        table.add_column(head, overflow="fold")
    for variant in dict.fromkeys(run.variant for run in runs):
        table.add_row(variant, *(state(run, failures) for run in runs if run.variant == variant))
    return table


def state(run: Run, failures: dict[str, str]) -> str:
    """How far a run is: waiting, its epoch and validation accuracy, done, failed."""
    rows = metrics_of(run)
    accuracies = [float(row["val_acc"]) for row in rows if row.get("val_acc")]
    if run.finished:
        return f"done {max(accuracies, default=0):.2f} %"
    if str(run.recipe.run) in failures:
        return "failed"
    if not run.folder.is_dir():
        return "-"
    last = f", {accuracies[-1]:.2f} %" if accuracies else ""
    return f"epoch {len(rows)}/{total_epochs(run.recipe)}{last}"


def _caption(runs: Sequence[Run], failures: dict[str, str], started: float, jobs: int) -> str:
    epochs = {str(run.recipe.run): [float(row["seconds"]) for row in metrics_of(run)] for run in runs}
    each = [seconds for times in epochs.values() for seconds in times]
    left = sum(
        total_epochs(run.recipe) - len(epochs[str(run.recipe.run)])
        for run in runs
        if str(run.recipe.run) not in failures
    )
    passed = f"{(time.time() - started) / 60:.0f} min"
    if not each:
        return f"validation accuracy; {passed}"
    return f"validation accuracy; {passed}, about {left * statistics.fmean(each) / jobs / 60:.0f} min left"
