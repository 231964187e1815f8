"""Loading a split for evaluation, and one-line errors from worker processes."""

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from torch.utils.data import DataLoader, Dataset

from .eval_shards import collate

MOST_WORKERS = 128


def eval_loader(split: Dataset, batch_size: int, workers: int) -> DataLoader:
    """Loads every item of a prepared split once, in order."""
    check_workers(workers)
    return DataLoader(
        split,
        batch_size,
        num_workers=workers,
        worker_init_fn=leave_interrupts_to_the_main_process,
        collate_fn=collate,
    )


def check_workers(count: int) -> None:
    """Raises ValueError for more loading processes than any machine takes: each is a whole Python."""
    if not 0 <= count <= MOST_WORKERS:
        raise ValueError(f"workers {count} is not in [0, {MOST_WORKERS}]: each is a process")


@contextmanager
def unwrap_worker_errors() -> Iterator[None]:
    """Re-raises a worker's error about a file or a library without the traceback that torch puts into its message."""
    try:
        yield
    except (ValueError, OSError, ImportError) as error:
        if match := re.match(r"Caught (\w+) in DataLoader worker.*^(?:\w+\.)*\1: (.*)", str(error), re.DOTALL | re.M):
            raise type(error)(match[2].strip()) from error
        raise


def leave_interrupts_to_the_main_process(worker: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends Ctrl-C to all, but the step still needs its batch
