"""What happens around training: firing rates, the table of metrics, checkpoints, interruption, the progress bar."""

import contextlib
import csv
import signal
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.callbacks import Callback, Checkpoint, RichProgressBar

from spikeformers.analysis import FiringRates


class FiringRateLog(Callback):
    """Logs `firing`, the share of outputs that are spikes, over all neurons and by block.

    It is read every tenth batch, and in the first after a run resumes.
    """

    def __init__(self, every: int = 10):
        self.every = every

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.rates = FiringRates(pl_module.model)  # pyright: ignore[reportArgumentType]
        self.first = True

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.rates.clear()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx % self.every == 0 or self.first:
            self.first = False
            self.rates.__enter__()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        if self.rates.running:
            self.rates.__exit__()
            pl_module.log("firing", self.rates.overall(), prog_bar=True, on_step=True, on_epoch=False)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        for block, rate in self.rates.by_block().items():
            pl_module.log(f"firing/{block}", rate, sync_dist=True)


class MetricsTable(Callback):
    """Writes one row an epoch to a CSV file; a resumed run keeps the rows before the epoch it goes on with.

    `lr` is that of the epoch's last step. `loss`, `acc`, firing rates and seconds of an epoch that was cut in two are
    those of its second part: the first part's sums died with the process that held them.

    Lightning's own CSV logger deletes what was there when a run resumes, and spreads an epoch over several rows.
    """

    def __init__(self, file: Path):
        self.file = file
        self.rows: list[dict[str, Any]] = []

    @rank_zero_only
    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.started = time.perf_counter()
        if self.file.is_file():
            with self.file.open(newline="") as file:
                self.rows = [row for row in csv.DictReader(file) if int(row["epoch"]) < trainer.current_epoch]

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.started = time.perf_counter()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self.lr = trainer.optimizers[0].param_groups[0]["lr"]  # at the epoch's end it is the next one's

    @rank_zero_only
    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        metrics = {key: float(value) for key, value in trainer.callback_metrics.items() if not key.endswith("_step")}
        epoch_means = {key.removesuffix("_epoch"): f"{value:.5g}" for key, value in metrics.items()}
        epoch_means.pop("firing", None)  # the last step's; the blocks' are the epoch's
        seconds = time.perf_counter() - self.started
        self.rows.append(
            {"epoch": trainer.current_epoch, "lr": f"{self.lr:.4g}", **epoch_means, "seconds": f"{seconds:.1f}"}
        )
        columns = list(dict.fromkeys(key for row in self.rows for key in row))
        unfinished = self.file.with_name(self.file.name + ".unfinished")
        with unfinished.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(self.rows)
        unfinished.replace(self.file)


class Checkpoints(Checkpoint):
    """Writes `last.ckpt` after each epoch, to resume from, and `best.ckpt` when `val_acc` was never as high.

    Of epochs with the same accuracy, as small validation sets give, the one with the lowest `val_loss` is the best.

    Lightning's ModelCheckpoint writes `last` only when it writes `best`, and forgets the best score of a run whose
    folder was moved.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.best = (float("-inf"), float("-inf"))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        metrics = trainer.callback_metrics
        score = (float(metrics.get("val_acc", "-inf")), -float(metrics.get("val_loss", "inf")))
        if score > self.best:
            self.best = score
            trainer.save_checkpoint(self.folder / "best.ckpt")
        trainer.save_checkpoint(self.folder / "last.ckpt")

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = tuple(state_dict["best"])


class Interruption(Callback):
    """On the first Ctrl-C, finishes the step, saves a checkpoint that resumes with the next, and stops.

    A second Ctrl-C stops at once, and leaves the checkpoint of the last whole epoch.
    """

    def __init__(self, checkpoint: Path):
        self.checkpoint = checkpoint
        self.asked = False
        self.before: Any = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        with contextlib.suppress(ValueError):  # only the main thread may; elsewhere Ctrl-C does what it always does
            self.before = signal.signal(signal.SIGINT, self._ask)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        updated = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        asked = trainer.strategy.reduce_boolean_decision(self.asked, all=False)  # all processes stop at the same step
        if asked and updated and not trainer.is_last_batch:  # after the last comes validation, and then a checkpoint
            trainer.save_checkpoint(self.checkpoint)
            raise KeyboardInterrupt

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._restore()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._restore()

    def _ask(self, *_: Any) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def _restore(self) -> None:
        if self.before is not None:
            signal.signal(signal.SIGINT, self.before)
            self.before = None


class ProgressBar(RichProgressBar):
    """Lightning's, showing a step's loss, accuracy and firing rate, and the last validation accuracy."""

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        metrics = super().get_metrics(trainer, pl_module)
        names = {"loss_step": "loss", "acc_step": "acc", "firing": "firing", "val_acc": "val_acc"}
        return {shown: metrics[name] for name, shown in names.items() if name in metrics}
