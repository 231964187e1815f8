"""Training a list of runs, one after another or one on each device; the finished are skipped, the begun resumed."""

import logging
import multiprocessing
import os
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from spikeformers.compare.plan import Run
from spikeformers.memory import shortages_told
from spikeformers.models.parts import own_files, user_code_errors
from spikeformers.training.fit import fit
from spikeformers.training.recipe import Recipe

Told = Callable[[Run, str | None], None]


def train_all(runs: Sequence[Run], jobs: int, told: Told) -> dict[str, str]:
    """Trains what is not finished, `jobs` at once; what became of those that failed, by their run's name.

    `told` hears of each run that ended, with why it failed. A run that fails, as by a loss that is not finite, does
    not stop the others. Raises KeyboardInterrupt after Ctrl-C, with a checkpoint saved of each run that was training.
    """
    waiting = [run for run in runs if not run.finished]
    failed: dict[str, str] = {}

    def ended(run: Run, failure: str | None) -> None:
        if failure:
            failed[str(run.recipe.run)] = failure
        told(run, failure)

    if jobs == 1:
        for run in waiting:
            ended(run, _train(run.recipe))
    elif waiting:
        _in_processes(waiting, jobs, ended)
    return failed


def devices() -> int:
    """How many runs there are devices for: GPUs, or one on the processor."""
    return max(1, torch.cuda.device_count())


def _train(recipe: Recipe) -> str | None:
    """Trains a run; why it failed, in a line. What a part of somebody's own raises leaves its traceback beside it."""
    try:
        with (
            _naming(recipe),
            user_code_errors(own_files(recipe.model)),
            shortages_told(lambda: "lower batch_size, or compare smaller models"),
        ):
            fit(recipe, resume=True)
    except (ValueError, OSError) as error:
        if error.__cause__ is not None:
            file = Path(recipe.out) / f"{recipe.run}-error.txt"
            file.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
        return " ".join(str(error).split())
    return None


@contextmanager
def _naming(recipe: Recipe) -> Iterator[None]:
    """What is logged meanwhile begins with the run's name: several may be at it."""

    def name(record: logging.LogRecord) -> bool:
        record.msg = f"{str(recipe.run).replace('%', '%%')}: {record.msg}"
        return True

    logger = logging.getLogger("spikeformers")
    logger.addFilter(name)
    try:
        yield
    finally:
        logger.removeFilter(name)


def _in_processes(waiting: Sequence[Run], jobs: int, ended: Told) -> None:
    context = multiprocessing.get_context("spawn")
    slots = context.SimpleQueue()
    for slot in range(jobs):
        slots.put(slot)
    terminated = _ended_by_sigterm()
    pool = ProcessPoolExecutor(jobs, context, _enter, (slots, jobs, torch.cuda.device_count()))
    left = deque(waiting)
    futures: dict[Future, Run] = {}
    try:
        while left or futures:
            while left and len(futures) < jobs:  # no more: what is in the pool's queue cannot be taken back
                run = left.popleft()
                _heed_ctrl_c(False)  # a worker that starts now does not until it trains
                futures[pool.submit(_train_and_heed, run.recipe)] = run
                _heed_ctrl_c(True)
            done, _ = wait(futures, return_when=FIRST_COMPLETED)
            for future in done:
                ended(futures.pop(future), future.result())
    except BrokenProcessPool as error:
        raise ValueError(
            "a process that trained was killed, perhaps for memory: lower --jobs, and start again"
        ) from error
    except BaseException:
        for worker in multiprocessing.active_children():
            if worker.pid:
                os.kill(worker.pid, signal.SIGINT)  # they save a checkpoint, and end
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        terminated()


def _enter(slots: Any, jobs: int, count: int) -> None:
    """A worker's first steps: it takes a device, or its share of the processor, and hears of Ctrl-C from the parent.

    `count` is the parent's number of GPUs: to ask here might open all of them.
    """
    if hasattr(os, "setsid"):
        os.setsid()
    slot = slots.get()
    if count:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(count)))
        os.environ["CUDA_VISIBLE_DEVICES"] = visible.split(",")[slot % count]
    else:
        torch.set_num_threads(max(1, torch.get_num_threads() // jobs))


def _ended_by_sigterm() -> Callable[[], Any]:
    """Has SIGTERM end this process as an exception does, workers first; call what it returns to undo that."""
    if threading.current_thread() is not threading.main_thread():  # only that one may
        return lambda: None

    def end(*_: Any) -> None:
        raise SystemExit(143)  # what a shell reports of a process that SIGTERM ended

    before = signal.signal(signal.SIGTERM, end)
    return lambda: signal.signal(signal.SIGTERM, before)


def _train_and_heed(recipe: Recipe) -> str | None:
    parent = multiprocessing.parent_process()
    if parent is None or not parent.is_alive():
        raise SystemExit(1)  # it was killed, and nobody waits for what it had in its queue
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        _heed_ctrl_c(True)
        return _train(recipe)
    finally:
        _heed_ctrl_c(False)


def _heed_ctrl_c(heeds: bool) -> None:
    """Lets SIGINT through, what came meanwhile too, or keeps it waiting; a process inherits this from its parent."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK if heeds else signal.SIG_BLOCK, {signal.SIGINT})
