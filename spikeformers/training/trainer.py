"""Lightning's Trainer, from a recipe."""

import difflib
import inspect
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lightning.pytorch as pl
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback

from spikeformers.training.callbacks import EpochLines, FiringRateLog, MetricsTable, ProgressBar, TensorBoard
from spikeformers.training.checkpoint_file import WholeFiles
from spikeformers.training.checkpoints import Checkpoints
from spikeformers.training.health import Health
from spikeformers.training.interruption import Interruption
from spikeformers.training.optim import total_epochs
from spikeformers.training.profile_log import ProfileLog
from spikeformers.training.recipe import Recipe

# What a recipe says in fields of its own, and what a run needs as it is.
_TAKEN = {
    "max_epochs": "epochs",
    "precision": "precision",
    "accumulate_grad_batches": "accumulate",
    "gradient_clip_val": "clip_grad_norm",
    "callbacks": None,
    "logger": None,
    "default_root_dir": "out",
    "use_distributed_sampler": None,
    "enable_checkpointing": None,
    "fast_dev_run": None,
    "barebones": None,
    "plugins": None,
}


def check_trainer(recipe: Recipe) -> None:
    """Raises ValueError for settings of the Trainer that it does not have, or that cannot be had on this machine."""
    known = [key for key in inspect.signature(pl.Trainer.__init__).parameters if key not in ("self", *_TAKEN)]
    for key in recipe.trainer:
        if key in _TAKEN:
            instead = f"set {_TAKEN[key]}" if _TAKEN[key] else "the run needs its own"
            raise ValueError(f"trainer.{key} is not for a recipe: {instead}")
        if key not in known:
            close = difflib.get_close_matches(key, known, n=3, cutoff=0.5) or known
            raise ValueError(f"Lightning's Trainer takes no {key!r}: did you mean {', '.join(close)}?")
    accelerator = recipe.trainer.get("accelerator", "auto")
    on_cpu = accelerator == "cpu" or (accelerator == "auto" and not torch.accelerator.is_available())
    if recipe.precision == "16-mixed" and on_cpu:
        raise ValueError("precision 16-mixed needs a GPU, and there is none: use bf16-mixed or 32-true")
    devices = str(recipe.trainer.get("devices", 1))
    if on_cpu and devices.isdecimal():
        check_processes("trainer.devices", int(devices), recipe.oversubscribe)


def check_processes(name: str, count: int, oversubscribe: bool) -> None:
    """Raises ValueError for more training processes than this machine has cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if count > cores and not oversubscribe:
        raise ValueError(
            f"{name} {count} is as many processes, and there are {cores} processor cores for them: lower it, or force "
            "it by --oversubscribe true"
        )


def make_trainer(recipe: Recipe, folder: Path) -> pl.Trainer:
    """A Trainer that will log and save to a run folder; it writes nothing yet.

    Raises ValueError for settings that Lightning refuses, such as devices that are not there.
    """
    firing = FiringRateLog()
    checkpoints = Checkpoints(
        folder / "checkpoints", keep=recipe.keep, minutes=recipe.save_minutes, stop=recipe.stop_if_unsaved
    )
    callbacks: list[Callback] = [
        firing,
        Health(firing),
        ProfileLog(recipe.profile_every),
        MetricsTable(folder / "metrics.csv"),
        Interruption(checkpoints),
        checkpoints,
    ]
    shown = recipe.trainer.get("enable_progress_bar", True)
    if shown:
        callbacks.append(EpochLines())
    if shown and sys.stdout.isatty():  # elsewhere a bar shows nothing until the end
        callbacks.append(ProgressBar())
    try:
        return pl.Trainer(
            max_epochs=total_epochs(recipe),
            precision=recipe.precision,
            accumulate_grad_batches=recipe.accumulate,
            gradient_clip_val=recipe.clip_grad_norm,
            callbacks=callbacks,
            logger=TensorBoard(folder, name="tensorboard", version=""),
            default_root_dir=folder,
            use_distributed_sampler=False,
            plugins=[WholeFiles()],
            **{
                "num_sanity_val_steps": 0,
                "enable_model_summary": False,
                "log_every_n_steps": 10,
                **recipe.trainer,
                "enable_progress_bar": shown and sys.stdout.isatty(),
            },
        )
    except (MisconfigurationException, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"trainer {recipe.trainer} is refused by Lightning: {error}") from error


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Keeps back Lightning's notes on devices it did not find, workers it would like and steps it did not log."""
    chatter = [logging.getLogger(f"lightning.{part}") for part in ("pytorch", "fabric")]
    levels = [logger.level for logger in chatter]
    for logger in chatter:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning.*")
            warnings.filterwarnings("ignore", module="torch.*")
            yield
    finally:
        for logger, level in zip(chatter, levels, strict=True):
            logger.setLevel(level)
