"""Training a list of runs, one after another or one per device. Finished runs are skipped, interrupted ones resume."""

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
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

from spikeformers.compare.plan import Run
from spikeformers.memory import shortages_told
from spikeformers.models.own_code import user_code_errors
from spikeformers.training.fit import fit
from spikeformers.training.precision import on_cpu
from spikeformers.training.recipe import Recipe

OnEnd = Callable[[Run, str | None], None]  # called with a run that ended, and the reason if it failed


def train_all(runs: Sequence[Run], jobs: int, on_end: OnEnd) -> dict[str, str]:
    """Trains the unfinished runs, `jobs` at a time. Returns the reasons of those that failed, by the run's name.

    A run that fails, for example with a loss that is not finite, does not stop the others. Raises KeyboardInterrupt
    after Ctrl-C, with a checkpoint saved of each run in training.
    """
    waiting = [run for run in runs if not run.finished]
    failed: dict[str, str] = {}

    def ended(run: Run, failure: str | None) -> None:
        if failure:
            failed[str(run.recipe.run)] = failure
        on_end(run, failure)

    if jobs == 1:
        for run in waiting:
            ended(run, _train(run.recipe))
    elif waiting:
        _in_processes(waiting, jobs, ended)
    return failed


def devices(recipe: Recipe) -> int:
    """How many runs of a recipe can train at a time: one per GPU, or one on the CPU."""
    return max(1, _gpus(recipe))


def _gpus(recipe: Recipe) -> int:
    return 0 if on_cpu(recipe) else torch.cuda.device_count()


def _train(recipe: Recipe) -> str | None:
    """Trains a run. Returns the reason in one line if it fails; an error that this library did not expect, such as one
    in a user's part, also writes its traceback."""
    try:
        with (
            _naming(recipe),
            user_code_errors(recipe.model),
            shortages_told(lambda: "lower batch_size, or compare smaller models"),
        ):
            fit(recipe, resume=True)
    except Exception as error:  # whatever it is, the other runs go on
        told = isinstance(error, ValueError | OSError)
        if error.__cause__ is not None or not told:
            file = Path(recipe.out) / f"{recipe.run}-error.txt"
            with suppress(OSError):  # a full disk, which the reason may be
                file.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
        said = " ".join(str(error).split())
        return said if told and said else f"{type(error).__name__}: {said}"
    return None


@contextmanager
def _naming(recipe: Recipe) -> Iterator[None]:
    """Prefixes log lines with the run's name, as several runs may train at a time."""

    def name(record: logging.LogRecord) -> bool:
        record.msg = f"{str(recipe.run).replace('%', '%%')}: {record.msg}"
        return True

    logger = logging.getLogger("spikeformers")
    logger.addFilter(name)
    try:
        yield
    finally:
        logger.removeFilter(name)


def _in_processes(waiting: Sequence[Run], jobs: int, ended: OnEnd) -> None:
    context = multiprocessing.get_context("spawn")
    slots = context.SimpleQueue()
    for slot in range(jobs):
        slots.put(slot)
    terminated = _ended_by_sigterm()
    pool = ProcessPoolExecutor(jobs, context, _enter, (slots, jobs, _gpus(waiting[0].recipe)))
    left = deque(waiting)
    futures: dict[Future, Run] = {}
    try:
        while left or futures:
            while left and len(futures) < jobs:  # no more: the pool's queue cannot be cancelled
                run = left.popleft()
                _heed_ctrl_c(False)  # a worker that starts now inherits this, until it trains
                futures[pool.submit(_train_and_heed, run.recipe)] = run
                _heed_ctrl_c(True)
            done, _ = wait(futures, return_when=FIRST_COMPLETED)
            for future in done:
                ended(futures.pop(future), future.result())
    except BrokenProcessPool as error:
        raise ValueError(
            "a training process was killed, perhaps for lack of memory: lower --jobs, and start again"
        ) from error
    except BaseException:
        for worker in multiprocessing.active_children():
            if worker.pid:
                os.kill(worker.pid, signal.SIGINT)  # it saves a checkpoint and ends
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        terminated()


def _enter(slots: Any, jobs: int, count: int) -> None:
    """Initialises a worker: it takes a device, or its share of the processor, and gets Ctrl-C from the parent only.

    `count` is the parent's number of GPUs: asking torch here might open all of them.
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
    """Makes SIGTERM end this process by an exception, so that workers end first. Returns a function that undoes it."""
    if threading.current_thread() is not threading.main_thread():  # only that one may set handlers
        return lambda: None

    def end(*_: Any) -> None:
        raise SystemExit(143)  # what a shell reports of a process that SIGTERM ended

    before = signal.signal(signal.SIGTERM, end)
    return lambda: signal.signal(signal.SIGTERM, before)


def _train_and_heed(recipe: Recipe) -> str | None:
    parent = multiprocessing.parent_process()
    if parent is None or not parent.is_alive():
        raise SystemExit(1)  # the parent was killed, and nobody waits for this run
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        _heed_ctrl_c(True)
        return _train(recipe)
    finally:
        _heed_ctrl_c(False)


def _heed_ctrl_c(heeds: bool) -> None:
    """Unblocks SIGINT, delivering a pending one, or blocks it. A process inherits this from its parent."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK if heeds else signal.SIG_BLOCK, {signal.SIGINT})
