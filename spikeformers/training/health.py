"""Warnings about a run that fails to learn: an exploding loss, neurons that never or always fire."""

import logging
import math
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_only

from spikeformers.training.callbacks import FiringRateLog

logger = logging.getLogger("spikeformers")

SILENT, ALWAYS = 1e-4, 0.98  # firing rates


class Health(Callback):
    """Warns of an exploding loss within some twenty steps, and after each epoch of neurons newly silent or saturated.

    A loss explodes when its running mean exceeds twice the loss of guessing and twice its own minimum. A loss that is
    not finite stops the run in `TrainingModule`. Each warning names the place and the usual remedies.
    """

    def __init__(self, firing: FiringRateLog, every: int = 20):
        self.firing, self.every = firing, every
        self.mean = self.lowest = math.inf
        self.known: dict[str, str] = {}  # neuron -> the state that the last warnings were about

    @rank_zero_only
    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        on_cpu = pl_module.device.type == "cpu"
        if not on_cpu and batch_idx % self.every:  # reading the loss waits for an accelerator
            return
        share = 1 / self.every if on_cpu else 0.5
        module: Any = pl_module
        loss = float(outputs["loss"]) * module.steps_of_update(batch_idx)  # it is this step's share of the update's
        self.mean = loss if math.isinf(self.mean) else (1 - share) * self.mean + share * loss
        self.lowest = min(self.lowest, self.mean)
        model: Any = pl_module.model
        guessing = math.log(max(model.num_classes, 2))
        if model.task == "detection":  # losses of boxes come on top
            guessing += 2
        if self.mean > 2 * max(guessing, self.lowest):
            logger.warning(
                "the loss explodes: %.3g at epoch %d, step %d, up from %.3g: lower optimizer.lr, lengthen "
                "schedule.warmup_epochs, or set clip_grad_norm 1.0",
                self.mean, trainer.current_epoch + 1, batch_idx + 1, self.lowest,
            )  # fmt: skip
            self.lowest = self.mean  # warn again only if it doubles again

    @rank_zero_only
    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        state = {name: _state(rate) for name, rate in self.firing.rates.by_neuron().items()}
        for what, remedy in _REMEDIES.items():
            new = [name for name, is_now in state.items() if is_now == what and self.known.get(name) != what]
            if new:
                named = ", ".join(new[:3]) + (f" and {len(new) - 3} more" if len(new) > 3 else "")
                logger.warning("epoch %d: %s %s: %s", trainer.current_epoch + 1, named, what, remedy)
        self.known = state


_NEVER, _ALWAYS = "never fires", "fires all the time"
_REMEDIES = {
    _NEVER: "no gradient revives it: lower optimizer.lr or the neuron's v_threshold, or lengthen "
    "schedule.warmup_epochs",
    _ALWAYS: "its output carries no information: lower optimizer.lr, or raise the neuron's v_threshold or weight_decay",
}


def _state(rate: float) -> str:
    return _NEVER if rate < SILENT else _ALWAYS if rate > ALWAYS else ""
