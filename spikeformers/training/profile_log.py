"""Logging operations and energy to TensorBoard during training."""

from typing import Any

import lightning.pytorch as pl
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.callbacks import Callback

from spikeformers.analysis import CONVENTIONS, profile
from spikeformers.layers.time import time_first


class ProfileLog(Callback):
    """Logs energy, ACs and MACs per input by every convention, and the firing rate of every neuron layer.

    Counts the first `samples` of every `every`th batch, in eval mode; 0 turns it off. Random numbers, the model's state
    and gradients stay unchanged.
    """

    def __init__(self, every: int, samples: int = 8):
        self.every, self.samples = every, samples

    @rank_zero_only
    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not self.every or batch_idx % self.every or trainer.logger is None:
            return
        x = time_first(batch[0][: self.samples])
        found = profile(pl_module.get_submodule("model"), [x])
        numbers: dict[str, float] = {}
        for name in CONVENTIONS:
            total = found.total(name)
            numbers |= {f"energy/{name}": total.millijoules, f"ac/{name}": total.ac, f"mac/{name}": total.mac}
        numbers |= {f"rate/{layer.name}": layer.rate for layer in found.activity}
        trainer.logger.log_metrics(numbers, step=trainer.global_step)
