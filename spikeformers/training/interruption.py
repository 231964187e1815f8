"""Stopping on a signal: Ctrl-C, SIGTERM, and the one that SLURM sends before it pre-empts a job."""

import contextlib
import signal
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback

from spikeformers.training.checkpoints import Checkpoints, agreed, between_updates

_TERMINATES = [
    getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name)
]  # SLURM's: --signal=USR1


class Terminated(BaseException):
    """A signal of another process ended the run, which has saved a checkpoint: no error, like KeyboardInterrupt."""


class Interruption(Callback):
    """On the first signal, finishes the step, saves a checkpoint that resumes with the next, and stops.

    Ctrl-C raises KeyboardInterrupt, the other signals Terminated. All processes of a run stop at the same step,
    whichever got the signal. A second Ctrl-C stops at once and keeps the checkpoint written before.
    """

    def __init__(self, checkpoints: Checkpoints):
        self.checkpoints = checkpoints
        self.asked: int | None = None
        self.before: dict[int, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        with contextlib.suppress(ValueError):  # only the main thread may set handlers
            for number in (signal.SIGINT, *_TERMINATES):
                self.before[number] = signal.signal(number, self._ask)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if between_updates(trainer, batch_idx) and agreed(trainer, self.asked is not None):
            self.checkpoints.save_last(trainer)
            self._stop(trainer)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if agreed(trainer, self.asked is not None):  # came after the last step; the epoch's end has saved everything
            self._stop(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._restore()
        if agreed(trainer, self.asked is not None):
            self._stop(trainer)

    def _stop(self, trainer: pl.Trainer) -> None:
        raise Terminated if agreed(trainer, self.asked in _TERMINATES) else KeyboardInterrupt

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._restore()

    def _ask(self, number: int, *_: Any) -> None:
        if self.asked == number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = number

    def _restore(self) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
        self.before = {}
