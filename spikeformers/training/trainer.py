"""Building Lightning's Trainer from a recipe."""

import difflib
import inspect
import logging
import os
import sys
import typing
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lightning.pytorch as pl
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback

from spikeformers.training.callbacks import EpochLines, FiringRateLog, MetricsTable, ProgressBar, TensorBoard
from spikeformers.training.checkpoint_file import WholeFiles
from spikeformers.training.checkpoints import Checkpoints
from spikeformers.training.dense_pictures import EpochPictures
from spikeformers.training.health import Health
from spikeformers.training.interruption import Interruption
from spikeformers.training.limits import check_type
from spikeformers.training.optim import total_epochs
from spikeformers.training.precision import on_cpu, precision_here
from spikeformers.training.profile_log import ProfileLog
from spikeformers.training.recipe import Recipe

# Arguments of the Trainer that a recipe may not set: those with a field of their own, and those that a run fixes.
_TAKEN = {
    "max_epochs": "epochs",
    "max_steps": "epochs and trainer.limit_train_batches",  # with it, Lightning resumes no run at an epoch's end
    "overfit_batches": "trainer.limit_train_batches",  # with it, Lightning replaces the sampler, and what it draws
    "val_check_interval": None,  # within an epoch, a score would choose weights of another step
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
    """Raises ValueError for settings that the Trainer does not have, or that this machine cannot provide."""
    known = [key for key in inspect.signature(pl.Trainer.__init__).parameters if key not in ("self", *_TAKEN)]
    hints = typing.get_type_hints(pl.Trainer.__init__)
    for key, value in recipe.trainer.items():
        if key in _TAKEN:
            instead = f"set {_TAKEN[key]} instead" if _TAKEN[key] else "leave it out"
            raise ValueError(f"a recipe cannot set trainer.{key}: {instead}")
        if key not in known:
            close = difflib.get_close_matches(key, known, n=3, cutoff=0.5) or known
            raise ValueError(f"Lightning's Trainer takes no {key!r}: did you mean {', '.join(close)}?")
        check_type(f"trainer.{key}", value, hints[key])
    if recipe.precision == "16-mixed" and on_cpu(recipe):
        raise ValueError("precision 16-mixed needs a GPU, which is missing here: use bf16-mixed or 32-true")
    devices = str(recipe.trainer.get("devices", 1))
    if on_cpu(recipe) and devices.isdecimal():
        check_processes("trainer.devices", int(devices), recipe.oversubscribe)


def check_processes(name: str, count: int, oversubscribe: bool) -> None:
    """Raises ValueError for more training processes than this machine has cores, unless `oversubscribe` is set."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if count > cores and not oversubscribe:
        raise ValueError(
            f"{name} {count} starts {count} processes, but there are only {cores} processor cores: lower it, or force "
            "it with --oversubscribe true"
        )


def make_trainer(recipe: Recipe, folder: Path) -> pl.Trainer:
    """A Trainer that logs and saves to a run folder once training starts.

    Raises ValueError for settings that Lightning refuses, such as missing devices.
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
        EpochPictures(folder / "pictures"),
        Interruption(checkpoints),
        checkpoints,
    ]
    show_progress = recipe.trainer.get("enable_progress_bar", True)
    if show_progress:
        callbacks.append(EpochLines())
    if show_progress and sys.stdout.isatty():  # elsewhere a bar prints nothing until the end
        callbacks.append(ProgressBar())
    try:
        trainer = pl.Trainer(
            max_epochs=total_epochs(recipe),
            precision=precision_here(recipe),  # pyright: ignore[reportArgumentType]
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
                "enable_progress_bar": show_progress and sys.stdout.isatty(),
            },
        )
    except (MisconfigurationException, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"trainer {recipe.trainer} is refused by Lightning: {error}") from error
    place = getattr(trainer.strategy, "cluster_environment", None)
    if trainer.num_nodes > 1 and isinstance(place, LightningEnvironment) and "MASTER_ADDR" not in os.environ:
        raise ValueError(
            f"trainer.num_nodes {trainer.num_nodes} needs other machines, but their addresses are not set: start it "
            "with torchrun or SLURM, as docs/scaling.md shows, or set MASTER_ADDR and NODE_RANK on each"
        )
    return trainer


def processes_of(trainer: pl.Trainer) -> int:
    """How many processes train, known before they start."""
    return trainer.num_devices * trainer.num_nodes


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silences Lightning's notes on missing devices, too few workers and unlogged steps."""
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
