"""Loading a split for evaluation, and the errors of loading processes in one line."""

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from torch.utils.data import DataLoader, Dataset


def eval_loader(split: Dataset, batch_size: int, workers: int) -> DataLoader:
    """Every item of a prepared split once, in order."""
    return DataLoader(split, batch_size, num_workers=workers, worker_init_fn=leave_interrupts_to_the_main_process)


@contextmanager
def unwrap_worker_errors() -> Iterator[None]:
    """Raises what a loading process raised as its own ValueError, without the traceback that torch writes into it."""
    try:
        yield
    except ValueError as error:
        if told := re.match(r"Caught ValueError in DataLoader worker.*^ValueError: (.*)", str(error), re.DOTALL | re.M):
            raise ValueError(told[1].strip()) from error
        raise


def leave_interrupts_to_the_main_process(worker: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends Ctrl-C to all, and the step still wants its batch
