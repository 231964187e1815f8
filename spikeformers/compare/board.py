"""The live table of a comparison: one row per variant, one column per seed, from the files of the runs."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from spikeformers.compare.outcome import metrics_of
from spikeformers.compare.plan import Run
from spikeformers.compare.train_all import OnEnd
from spikeformers.training.optim import total_epochs


def live_board(console: Any, jobs: int) -> Callable[[Sequence[Run]], Any]:
    """A `watch` for `compare`: a live table in a terminal, otherwise a line per finished run."""

    @contextmanager
    def watch(runs: Sequence[Run]) -> Iterator[OnEnd]:
        from rich.live import Live

        failures: dict[str, str] = {}
        started, done = time.time(), sum(run.finished for run in runs)

        def on_end(run: Run, failure: str | None) -> None:
            nonlocal done
            if failure:
                failures[str(run.recipe.run)] = failure
            else:
                done += 1
            if failure or not console.is_terminal:
                line = f"{run.recipe.run}: {failure or state(run, failures)} ({done} of {len(runs)} runs done)"
                console.print(line, markup=False, highlight=False)

        if not console.is_terminal:
            yield on_end
            return
        with Live(
            get_renderable=lambda: table_of(runs, failures, started, jobs), console=console, refresh_per_second=1
        ):
            yield on_end

    return watch


def table_of(runs: Sequence[Run], failures: dict[str, str], started: float, jobs: int) -> Any:
    """The current table. It shows validation scores only, so that nobody selects by the test set."""
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
    """The state of a run: waiting, its epoch and validation score, done, or failed."""
    rows = metrics_of(run)
    best, shown = (f"val_{column}" for column in (run.measure.best, run.measure.column))
    scores = [(float(row[best]), float(row[shown])) for row in rows if row.get(best)]
    if run.finished:
        return f"done {max(scores, default=(0, 0))[1]:.2f} %"
    if str(run.recipe.run) in failures:
        return "failed"
    if not run.folder.is_dir():
        return "-"
    last = f", {scores[-1][1]:.2f} %" if scores else ""
    return f"epoch {len(rows)}/{total_epochs(run.recipe)}{last}"


def _caption(runs: Sequence[Run], failures: dict[str, str], started: float, jobs: int) -> str:
    epochs = {str(run.recipe.run): [float(row["seconds"]) for row in metrics_of(run)] for run in runs}
    each = [seconds for times in epochs.values() for seconds in times]
    left = sum(
        total_epochs(run.recipe) - len(epochs[str(run.recipe.run)])
        for run in runs
        if str(run.recipe.run) not in failures
    )
    passed = f"validation {runs[0].measure.name}; {(time.time() - started) / 60:.0f} min"
    if not each:
        return passed
    return f"{passed}, about {left * statistics.fmean(each) / jobs / 60:.0f} min left"
