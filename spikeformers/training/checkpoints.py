"""Which checkpoints a run keeps, and when it writes them."""

import logging
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Checkpoint

from spikeformers.training.checkpoint_file import LAST, shift

logger = logging.getLogger("spikeformers")


class Checkpoints(Checkpoint):
    """Writes `last.ckpt`, to resume from, and `best.ckpt` when `val_acc` was never as high.

    The last is written after each epoch, and within one when `minutes` have passed since; `keep` before it stay, as
    `last-1.ckpt` and so on. Of epochs with the same accuracy, as small validation sets give, the one with the lowest
    `val_loss` is the best. Where a file cannot be written, `stop` raises OSError; without it that is said and counted,
    and training goes on: what was saved before stays.

    Lightning's ModelCheckpoint writes `last` only when it writes `best`, and forgets the best score of a run whose
    folder was moved.
    """

    def __init__(self, folder: Path, *, keep: int = 2, minutes: float = 10.0, stop: bool = True):
        self.folder, self.keep, self.minutes, self.stop = folder, keep, minutes, stop
        self.best = (float("-inf"), float("-inf"))
        self.unsaved = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.saved_at = time.monotonic()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if between_updates(trainer, batch_idx) and agreed(
            trainer, time.monotonic() - self.saved_at >= 60 * self.minutes
        ):
            self.save_last(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        metrics = trainer.callback_metrics
        score = (float(metrics.get("val_acc", "-inf")), -float(metrics.get("val_loss", "inf")))
        if score > self.best and self._save(trainer, self.folder / "best.ckpt", score):
            self.best = score
        self.save_last(trainer)

    def save_last(self, trainer: pl.Trainer) -> None:
        """Writes `last.ckpt`; the one of before keeps its place until the new one is whole."""
        new = self.folder / "new.ckpt"
        if self._save(trainer, new, self.best) and trainer.is_global_zero:
            shift(self.folder, self.keep)
            new.replace(self.folder / LAST)
        self.saved_at = time.monotonic()

    def _save(self, trainer: pl.Trainer, file: Path, best: tuple[float, float]) -> bool:
        """Writes a checkpoint that knows the best score; whether it is there. All processes take part and agree."""
        before, self.best = self.best, best
        failure: OSError | None = None
        try:
            trainer.save_checkpoint(file)
        except OSError as error:
            failure = error
            trainer.strategy.barrier()  # where the others wait for the one that writes
        finally:
            self.best = before
        if not agreed(trainer, failure is not None):
            return True
        self.unsaved += 1
        said = f"{file.parent / LAST} could not be saved ({failure or 'see the first process'}): make room on its disk"
        if self.stop:
            raise OSError(f"{said}, and go on with --resume from what was saved before")
        logger.warning("%s; training goes on, and %d could not be saved so far", said, self.unsaved)
        return False

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = tuple(state_dict["best"])


def between_updates(trainer: pl.Trainer, batch_idx: int) -> bool:
    """Whether a checkpoint written after this step resumes with the next.

    Not where gradients are half accumulated, and not after an epoch's last: validation comes first, and Lightning would
    leave it out when it resumes.
    """
    return (batch_idx + 1) % trainer.accumulate_grad_batches == 0 and not trainer.is_last_batch


def agreed(trainer: pl.Trainer, wish: bool) -> bool:
    """Whether any process of the run wishes it: all are told the same, and do the same at the same step."""
    return trainer.strategy.reduce_boolean_decision(wish, all=False)
