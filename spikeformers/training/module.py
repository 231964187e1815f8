"""A Lightning module for training by a recipe."""

import logging
import math
import random
from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn

from spikeformers.layers.synchronised import synchronise
from spikeformers.layers.time import time_first
from spikeformers.models import SpikingTransformer, compile, recompute_blocks
from spikeformers.training.losses import make_objective
from spikeformers.training.mixup import make_mix
from spikeformers.training.optim import make_optimizer, make_schedule, rate_of
from spikeformers.training.recipe import Recipe
from spikeformers.training.teacher import Teacher, load_teacher
from spikeformers.training.trainer import processes_of

logger = logging.getLogger("spikeformers")


class TrainingModule(pl.LightningModule):
    """Trains a model on batches `([B, C, H, W] or [B, T, C, H, W], [B] labels)` by a recipe.

    Logs `loss` and `acc`, then `val_loss`, `val_acc` and, with `data.test_each_epoch`, `test_acc`; accuracies are in
    percent. A detector's batches have boxes, a segmenter's masks, and other scores are logged. Checkpoints store
    `settings`.

    Raises ValueError, naming epoch and step, counted from 1, if the loss is not finite.
    """

    def __init__(self, recipe: Recipe, model: SpikingTransformer, settings: dict[str, Any]):
        super().__init__()
        self.recipe, self.settings = recipe, settings
        self.extended: int | None = None  # the `epochs` a run began with, if it resumes with more
        self.model = channels_last(model)
        self.ema: ModelEmaV3 | None = None
        if recipe.ema_decay is not None:
            decay, warmup = recipe.ema_decay, recipe.ema_warmup
            self.ema = ModelEmaV3(model, decay=decay, use_warmup=warmup).requires_grad_(False)
            self.with_rates = _with_rates(model)
        if recipe.sync_norm:
            synchronise(model)
        if recipe.memory == "lean":
            recompute_blocks(model)
        if recipe.compile:
            compile(model)
        self.objective = make_objective(recipe, model, self._load_teacher())
        self.meters = nn.ModuleDict({split: self.objective.meter(model) for split in ("val", "test")})
        self.metered: set[str] = set()  # the splits that were evaluated in this epoch
        self.mix = make_mix(recipe, model.task, model.num_classes)

    @property
    def evaluated(self) -> SpikingTransformer:
        """The model to evaluate: the one with averaged weights, if `ema_decay` is set."""
        return self.ema.module if self.ema is not None else self.model

    def _load_teacher(self) -> Teacher | None:
        if (name := self.recipe.distill.teacher) is None:
            return None
        preprocess = self.settings.get("preprocess", {})
        pixels = (preprocess["mean"], preprocess["std"]) if "mean" in preprocess else None
        return load_teacher(name, self.model.num_classes, pixels, self.settings.get("classes"))

    def on_fit_start(self) -> None:
        if self.objective.teacher is not None:
            self.objective.teacher.to(self.device)

    def configure_optimizers(self) -> Any:
        optimizer = make_optimizer(self.recipe, self.model, self.trainer.world_size)
        # Not the Trainer's estimated_stepping_batches: it makes the loaders before their state is restored.
        steps = self.trainer.datamodule.steps_per_epoch()  # pyright: ignore[reportAttributeAccessIssue]
        schedule, _ = make_schedule(self.recipe, optimizer, math.ceil(steps / self.recipe.accumulate))
        schedule.step_update(0) if self.recipe.schedule.per_update else schedule.step(0)
        interval = "step" if self.recipe.schedule.per_update else "epoch"
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": interval}}

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        self._step(scheduler, self.current_epoch + 1)

    def _step(self, scheduler: Any, epoch: int) -> None:
        if self.recipe.schedule.per_update:
            scheduler.step_update(self.global_step)
        else:
            scheduler.step(epoch)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # Loaders of earlier versions saved their own position.
        checkpoint["loops"]["fit_loop"]["state_dict"].pop("combined_loader", None)
        # `trainer.max_time` is a limit for each process, such as a job's; a run would not go on past it.
        for kind in [kind for kind in checkpoint.get("callbacks", {}) if kind.startswith("Timer")]:
            del checkpoint["callbacks"][kind]
        began = checkpoint["spikeformers"]["recipe"]["epochs"]
        if began != self.recipe.epochs:
            self.extended = began
            checkpoint["lr_schedulers"] = [{} for _ in checkpoint["lr_schedulers"]]  # they hold the old length

    def on_train_start(self) -> None:
        if self.extended is None:
            return
        optimizer = self.trainer.optimizers[0]
        before = rate_of(optimizer)
        self._step(self.lr_schedulers(), self.current_epoch)
        if self.global_rank == 0:
            logger.warning(
                "epochs changed from %d to %d: from epoch %d on the rate follows the %s schedule of %d epochs, at %.3g "
                "instead of %.3g; a run of %d epochs from the start would have given another result",
                self.extended, self.recipe.epochs, self.current_epoch + 1, self.recipe.schedule.name,
                self.recipe.epochs, rate_of(optimizer), before, self.recipe.epochs,
            )  # fmt: skip

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        # Random numbers of a step depend on seed, epoch, step and process alone, so that resuming reproduces the run.
        sequence = np.random.SeedSequence([self.recipe.seed, self.current_epoch, batch_idx, self.global_rank])
        seed = int(sequence.generate_state(1)[0])
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)

    def training_step(self, batch: tuple[Tensor, Any], batch_idx: int) -> Tensor:
        x, labels = batch
        targets, off = labels, self.recipe.augment.mix_off_epoch
        if self.mix is not None and (off is None or self.current_epoch < off):
            x, targets = self.mix(x, labels)
        loss, seen = self.objective(self.model, time_first(x), targets)
        # Reading the loss waits for the device: on an accelerator, only every 20 steps.
        if (loss.device.type == "cpu" or batch_idx % 20 == 0) and not torch.isfinite(loss):
            raise _not_finite(f"the loss is {loss.item()}", f"at epoch {self.current_epoch + 1}, step {batch_idx + 1}")
        self.log("loss", loss.detach(), prog_bar=True, on_step=True, on_epoch=True, batch_size=len(x))
        if isinstance(seen, Tensor):  # logits
            # Of mixed images the label of the one with the larger weight counts.
            seen = {"acc": percent_right(seen, labels if targets is labels else targets.argmax(-1))}
        for name, value in (seen or {}).items():
            self.log(name, value, prog_bar=name == "acc", on_step=True, on_epoch=True, batch_size=len(x))
        return loss * (self.recipe.accumulate / self.steps_of_update(batch_idx))  # Lightning divides by `accumulate`

    def steps_of_update(self, batch_idx: int) -> int:
        """How many steps the update of a batch has: `accumulate`, or fewer at the end of an epoch."""
        accumulate = self.recipe.accumulate
        if accumulate == 1:
            return 1
        return min(accumulate, int(self.trainer.num_training_batches) - batch_idx // accumulate * accumulate)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        if self.ema is not None:
            _begin_rates(self.ema.module, self.model, self.with_rates)
            self.ema.update(self.model, self.global_step if self.recipe.ema_warmup else None)

    def validation_step(self, batch: tuple[Tensor, Any], batch_idx: int, dataloader_idx: int = 0) -> None:
        x, labels = batch
        split = self.trainer.datamodule.evaluated_each_epoch[dataloader_idx]  # pyright: ignore[reportAttributeAccessIssue]
        meter: Any = self.meters[split]
        loss = meter.update(self.evaluated, time_first(x), labels)
        self.metered.add(split)
        if loss is not None and not loss.isfinite():
            raise _not_finite(f"the loss is {loss.item()}", f"in evaluation after epoch {self.current_epoch + 1}")

    def on_validation_epoch_end(self) -> None:
        for split in sorted(self.metered, reverse=True):  # val, then test
            meter: Any = self.meters[split]
            for name, value in meter.compute().items():
                self.log(f"{split}_{name}", value, prog_bar=f"{split}_{name}" == f"val_{self.objective.measure.best}")
            meter.reset()
        self.metered.clear()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        for name, weight in checkpoint["state_dict"].items():
            if not weight.isfinite().all():
                raise _not_finite(
                    f"{name} is not finite", f"at epoch {self.current_epoch + 1}, update {self.global_step}"
                )
        now = {"epoch": self.current_epoch + 1, "processes": processes_of(self.trainer)}
        checkpoint["spikeformers"] = {**self.settings, **now}


def channels_last(model: SpikingTransformer) -> SpikingTransformer:
    """Puts a model's convolutions in the channels-last layout, where a 1x1 convolution is one matrix product.

    Returns the model. torch's own `model.to` refuses tensors of other ranks, such as the rates that DSSA keeps.
    """
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.ndim == 4:
            tensor.data = tensor.data.to(memory_format=torch.channels_last)
    return model


def percent_right(logits: Tensor, labels: Tensor) -> Tensor:
    """`[B, K], [B]` -> top-1 accuracy in percent."""
    return (logits.argmax(-1) == labels).float().mean() * 100


def _not_finite(what: str, where: str) -> ValueError:
    return ValueError(
        f"{what} {where}: training stopped, and the last checkpoint is from before that; lower "
        "optimizer.lr, set clip_grad_norm 1.0, or use precision 32-true"
    )


def _with_rates(model: nn.Module) -> list[str]:
    """The parts whose statistics begin with the first batch, such as DSSA's rates."""
    return [
        name
        for name, part in model.named_modules()
        if hasattr(part, "synchronised") and not isinstance(part, nn.BatchNorm2d)
    ]


@torch.no_grad()
def _begin_rates(average: nn.Module, model: nn.Module, parts: Sequence[str]) -> None:
    """Begins the averages of such statistics: from 0 on, they would be far too low for thousands of steps."""
    for name in parts:
        begun, now = average.get_submodule(name).buffers(False), model.get_submodule(name).buffers(False)
        for buffer, value in zip(begun, now, strict=True):
            if not buffer.any():
                buffer.copy_(value)
