"""Logging a run: firing rates, the table of metrics, lines in the terminal, the progress bar."""

import csv
import logging
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.callbacks import Callback, RichProgressBar
from lightning.pytorch.loggers import TensorBoardLogger

from spikeformers.analysis import FiringRates
from spikeformers.files import atomic_path
from spikeformers.training.metrics_table import read_metrics
from spikeformers.training.optim import rate_of

logger = logging.getLogger("spikeformers")

_SCORES = ("acc", "map", "map50", "mask_map", "miou")


class FiringRateLog(Callback):
    """Logs `firing`, the share of outputs that are spikes, over all neurons and by block.

    Rates are measured on every tenth batch and on the first batch after a run resumes.
    """

    def __init__(self, every: int = 10):
        self.every = every
        self.measuring, self.uncompiled = ExitStack(), ExitStack()

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.rates = FiringRates(pl_module.get_submodule("model"))
        self.first = True

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.rates.clear()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx % self.every == 0 or self.first:
            self.first = False
            module: Any = pl_module
            if module.recipe.compile:
                # Measured blocks run uncompiled, and `memory: lean` must recompute them so: compiled ones save other
                # tensors.
                self.uncompiled.enter_context(torch.compiler.set_stance("force_eager"))
            self.measuring.enter_context(self.rates)

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Any) -> None:
        if self.rates.running:
            self.measuring.close()  # before blocks are recomputed, which would count them twice
            pl_module.log("firing", self.rates.overall(), prog_bar=True, on_step=True, on_epoch=False)

    def on_after_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.uncompiled.close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self.measuring.close()
        self.uncompiled.close()  # the stance is the whole process's, and its later runs may compile

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        for block, rate in self.rates.by_block().items():
            pl_module.log(f"firing/{block}", rate, sync_dist=True)


class MetricsTable(Callback):
    """Writes one row per epoch, counted from 1, to a CSV file; a resumed run keeps the rows of earlier epochs.

    Validation and test cells stay empty for epochs without an evaluation.

    `lr` is the rate of the epoch's last step. If a run was interrupted within an epoch, `loss`, `acc`, firing rates and
    seconds of that epoch cover only the part after resuming: the earlier sums died with the process.

    Lightning's own CSV logger deletes earlier rows when a run resumes, and spreads an epoch over several rows.
    """

    def __init__(self, file: Path):
        self.file = file
        self.rows: list[dict[str, Any]] = []

    @rank_zero_only
    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.started = time.perf_counter()
        self.evaluated = False
        self.rows = [row for row in read_metrics(self.file) if int(row["epoch"]) <= trainer.current_epoch]

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.started = time.perf_counter()
        self.evaluated = False

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.evaluated = True

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self.lr = rate_of(trainer.optimizers[0])  # by the epoch's end it is already the next epoch's

    @rank_zero_only
    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        metrics = {key: float(value) for key, value in trainer.callback_metrics.items() if not key.endswith("_step")}
        epoch_means = {key.removesuffix("_epoch"): f"{value:.5g}" for key, value in metrics.items()}
        epoch_means.pop("firing", None)  # of the last step only; the rates by block are means over the epoch
        if not self.evaluated:  # Lightning still holds the numbers of an earlier epoch
            epoch_means |= {key: "" for key in epoch_means if key.startswith(("val_", "test_"))}
        seconds = time.perf_counter() - self.started
        self.rows.append(
            {"epoch": trainer.current_epoch + 1, "lr": f"{self.lr:.4g}", **epoch_means, "seconds": f"{seconds:.1f}"}
        )
        columns = list(dict.fromkeys(key for row in self.rows for key in row))
        try:
            self._write(columns)
        except OSError as error:  # a full disk; the checkpoint callback decides whether to stop
            logger.warning("%s could not be written (%s); trying again after the next epoch", self.file, error)

    def _write(self, columns: list[str]) -> None:
        with atomic_path(self.file) as unfinished, unfinished.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(self.rows)


class TensorBoard(TensorBoardLogger):
    """Lightning's logger, with epochs counted from 1."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        epoch = {"epoch": metrics["epoch"] + 1} if "epoch" in metrics else {}
        super().log_metrics({**metrics, **epoch}, step)


class EpochLines(Callback):
    """Prints a line after each epoch, and every few `minutes` within it, with the remaining time.

    A progress bar keeps no history, and in a log file it shows nothing until the run ends. The remaining time is
    extrapolated from the steps since this process began.
    """

    def __init__(self, minutes: float = 5.0):
        self.minutes = minutes

    @rank_zero_only
    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.began = self.printed = self.epoch_began = time.monotonic()  # a resumed run may begin within an epoch
        self.steps = 0
        self.evaluated = False

    @rank_zero_only
    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.epoch_began = time.monotonic()
        self.evaluated = False

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.evaluated = True

    @rank_zero_only
    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.steps += 1
        if time.monotonic() - self.printed >= 60 * self.minutes and not trainer.is_last_batch:
            metrics = trainer.callback_metrics
            self._print(trainer, batch_idx + 1, {name: metrics.get(f"{name}_step") for name in ("loss", "acc")})

    @rank_zero_only
    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        names = ["loss", "acc"]
        if self.evaluated:  # else Lightning still holds the numbers of an earlier epoch
            names += ["val_loss", *(f"{split}_{name}" for split in ("val", "test") for name in _SCORES)]
        self._print(trainer, 0, {name: trainer.callback_metrics.get(name) for name in names})

    def _print(self, trainer: pl.Trainer, step: int, metrics: dict[str, Any]) -> None:
        self.printed = time.monotonic()
        epochs, batches = trainer.max_epochs or 0, int(trainer.num_training_batches)
        left = (epochs - trainer.current_epoch - (0 if step else 1)) * batches - step
        values = [f"{name} {float(value):.4g}" for name, value in metrics.items() if value is not None]
        where = f"step {step}/{batches}" if step else f"{self.printed - self.epoch_began:.0f} s"
        rest = duration(left * (self.printed - self.began) / max(self.steps, 1))
        line = f"epoch {trainer.current_epoch + 1}/{epochs}  {'  '.join([*values, where])}  {rest} left"
        bar = next((one for one in trainer.callbacks if isinstance(one, ProgressBar)), None)  # pyright: ignore[reportAttributeAccessIssue]
        if bar is not None and bar.progress is not None:
            bar.progress.console.print(line, markup=False, highlight=False)  # above the bar
        else:
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()


def duration(seconds: float) -> str:
    """Seconds as `40 s`, `12 min` or `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


class ProgressBar(RichProgressBar):
    """Lightning's bar, with epochs counted from 1, and loss, accuracy, firing rate and the last validation accuracy."""

    def _get_train_description(self, current_epoch: int) -> str:
        label = f"Epoch {current_epoch + 1}/{self.trainer.max_epochs}"
        return f"{label:{len(self.validation_description)}}"  # padded, so that the bar does not move

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        metrics = super().get_metrics(trainer, pl_module)
        names = {"loss_step": "loss", "acc_step": "acc", "firing": "firing"}
        names |= {f"val_{name}": f"val_{name}" for name in _SCORES}
        return {short: metrics[name] for name, short in names.items() if name in metrics}
