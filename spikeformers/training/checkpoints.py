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
    """Writes `last.ckpt`, to resume from, and `best.ckpt` whenever the objective's score, as `val_acc`, has a new high.

    `last.ckpt` is written after each epoch, and within an epoch every `minutes` and when `trainer.max_time` is over; an
    epoch that this cuts short has no score. The `keep` files before it stay, as `last-1.ckpt` and so on. The lower
    `val_loss` breaks ties in accuracy, which are common with small validation sets. If a file cannot be written,
    earlier ones stay; `stop` raises OSError, without it training goes on with a warning.

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
        stops = trainer.should_stop and trainer.fit_loop._can_stop_early  # alike in all processes
        if between_updates(trainer, batch_idx):
            if agreed(trainer, stops or time.monotonic() - self.saved_at >= 60 * self.minutes):
                self.save_last(trainer)
        elif not trainer.is_last_batch:
            trainer.should_stop = False  # the Timer asks again after the next step

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_last_batch:  # stopped within the epoch, where the checkpoint must go on
            return
        metrics = trainer.callback_metrics
        module: Any = pl_module
        best = f"val_{module.objective.measure.best}"
        score = (float(metrics.get(best, "-inf")), -float(metrics.get("val_loss", "inf")))
        if score > self.best and self._save(trainer, self.folder / "best.ckpt", score):
            self.best = score
        self.save_last(trainer)

    def save_last(self, trainer: pl.Trainer) -> None:
        """Writes `last.ckpt`. The previous one keeps its name until the new file is complete."""
        new = self.folder / "new.ckpt"
        if self._save(trainer, new, self.best) and trainer.is_global_zero:
            shift(self.folder, self.keep)
            new.replace(self.folder / LAST)
        self.saved_at = time.monotonic()

    def _save(self, trainer: pl.Trainer, file: Path, best: tuple[float, float]) -> bool:
        """Writes a checkpoint with the best score so far; returns whether it could. All processes must call it."""
        before, self.best = self.best, best
        failure: OSError | None = None
        try:
            trainer.save_checkpoint(file)
        except OSError as error:
            failure = error
            trainer.strategy.barrier()  # here the other processes wait for the one that writes
        finally:
            self.best = before
        if not agreed(trainer, failure is not None):
            return True
        self.unsaved += 1
        text = f"{file.parent / LAST} could not be saved ({failure or 'see the first process'}): make room on its disk"
        if self.stop:
            raise OSError(f"{text}, then continue from the checkpoint before it with --resume")
        logger.warning("%s; training goes on without it (%d checkpoints not saved so far)", text, self.unsaved)
        return False

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = tuple(state_dict["best"])


def between_updates(trainer: pl.Trainer, batch_idx: int) -> bool:
    """Whether a checkpoint written after this step can resume with the next.

    It cannot while gradients accumulate, nor after an epoch's last step: Lightning would skip that epoch's validation
    on resuming.
    """
    return (batch_idx + 1) % trainer.accumulate_grad_batches == 0 and not trainer.is_last_batch


def agreed(trainer: pl.Trainer, wish: bool) -> bool:
    """Whether `wish` is true in any process of the run. All get the same answer, and act at the same step."""
    return trainer.strategy.reduce_boolean_decision(wish, all=False)
