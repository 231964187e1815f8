"""Running a recipe: from its settings to a run folder."""

import logging
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import yaml
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.fabric.utilities.rank_zero import rank_zero_only

from spikeformers.checkpoints.load import load_checkpoint
from spikeformers.checkpoints.read import read_checkpoint
from spikeformers.data.loading import unwrap_worker_errors
from spikeformers.files import LOCK, atomic_write, check_output, held
from spikeformers.memory import shortages_told
from spikeformers.models.own_code import user_code_errors
from spikeformers.training.checkpoint_file import LAST, newest_whole, set_aside_newer
from spikeformers.training.idle_settings import tell_idle_settings
from spikeformers.training.interruption import Terminated
from spikeformers.training.optim import tell_low_rate, total_epochs
from spikeformers.training.precision import tell_precision
from spikeformers.training.prepare import Prepared, prepare
from spikeformers.training.provenance import note_start
from spikeformers.training.recipe import Recipe
from spikeformers.training.recipe_file import read_recipe
from spikeformers.training.results import Result, leave_pretraining, leave_results
from spikeformers.training.resume import check_processes_alike, check_resumable, digest_of
from spikeformers.training.trainer import make_trainer, processes_of, quiet_lightning

logger = logging.getLogger("spikeformers")


def fit(recipe: str | Recipe, *, resume: bool = False, **overrides: Any) -> Result:
    """Trains a model by a recipe and writes weights, settings, metrics and pictures to its run folder.

        fit("digits", epochs=3)
        fit("digits", model={"neuron": PLIF}, optimizer={"lr": 1e-3}, run="plif")

    Args:
        recipe: the name of a recipe, the path of a YAML file, or a `Recipe`.
        resume: whether to continue the run of that name from its last checkpoint; without a checkpoint it starts anew.
        overrides: fields of the recipe; not with a `Recipe`.

    Returns:
        The run's folder, weights and test scores.

    Raises:
        ValueError: settings or data do not fit, the run exists or is in use, or the loss is not finite.
        FileNotFoundError: there is no such recipe, data set or checkpoint.
        OSError: a checkpoint cannot be written.
        KeyboardInterrupt: Ctrl-C was pressed; a checkpoint is saved.
        SystemExit: status 143 after SIGTERM or SLURM's SIGUSR1; a checkpoint is saved.
    """
    if isinstance(recipe, str):
        recipe = read_recipe(recipe, overrides)
    elif overrides:
        raise ValueError(f"a Recipe is complete: change {', '.join(overrides)} in it, or give the recipe by name")
    folder = _folder_of(recipe)
    _check_place(folder, resume)
    begun = resume and any((folder / "checkpoints").glob("last*.ckpt"))
    ready = prepare(recipe, starts=not begun)
    with quiet_lightning():
        trainer = make_trainer(recipe, folder)
        with _claimed(folder, ready, resume, processes_of(trainer)) as begun:
            if rank_zero_only.rank == 0:
                tell_precision(recipe)
                tell_idle_settings(recipe, ready.loaders.sets)
                tell_low_rate(recipe, processes_of(trainer))
            if (cooling := recipe.schedule.cooldown_epochs) and rank_zero_only.rank == 0:
                logger.warning(
                    "%d epochs and %d of cool-down, %d in all; --schedule.cooldown_epochs 0 skips the cool-down",
                    recipe.epochs, cooling, total_epochs(recipe),
                )  # fmt: skip
            _train(trainer, ready, folder, begun)
            if rank_zero_only.rank == 0 and not (folder / "checkpoints" / LAST).is_file():
                raise ValueError(f"trainer {recipe.trainer} leaves no step of training: raise what limits it")
            if rank_zero_only.rank != 0:
                raise SystemExit(0)  # the other processes of a distributed run end here
            if trainer.current_epoch < total_epochs(recipe):
                logger.warning(
                    "trainer.max_time is over in epoch %d of %d: --resume goes on, with that time again",
                    trainer.current_epoch + 1, total_epochs(recipe),
                )  # fmt: skip
            return _finish(trainer, ready, folder)


def _train(trainer: pl.Trainer, ready: Prepared, folder: Path, begun: Path | None) -> None:
    recipe, last = ready.loaders.recipe, folder / "checkpoints" / LAST
    if begun:
        set_aside_newer(begun)
        logger.warning("resuming from %s", begun)
    try:
        with (
            user_code_errors(recipe.model),
            unwrap_worker_errors(),
            shortages_told(lambda: _room(recipe, last)),
        ):
            trainer.fit(ready.module, datamodule=ready.loaders, ckpt_path=begun, weights_only=True)
    except SystemExit:  # Lightning turns Ctrl-C into this, and ignores the signal from then on
        if rank_zero_only.rank != 0:
            raise
        signal.signal(signal.SIGINT, signal.default_int_handler)
        raise KeyboardInterrupt(f"interrupted: {_saved(last)}") from None
    except Terminated:
        if rank_zero_only.rank == 0:
            logger.warning("terminated: %s", _saved(last))
        raise SystemExit(143) from None  # what a shell reports of a process that SIGTERM ended
    except MisconfigurationException as error:
        raise ValueError(f"trainer {recipe.trainer} is refused by Lightning: {error}") from error


def _finish(trainer: pl.Trainer, ready: Prepared, folder: Path) -> Result:
    """Tests the trained model and writes its results. Any failure becomes a ValueError: the training is not lost."""
    model, objective, last = ready.model, ready.module.objective, folder / "checkpoints" / LAST
    best = last.with_name("best.ckpt")
    kept = best if best.is_file() else last
    try:
        with unwrap_worker_errors():
            load_checkpoint(model, kept).to(trainer.strategy.root_device)  # the Trainer has moved it to the CPU
            leave = partial(leave_results, best=objective.measure.best) if objective.labelled else leave_pretraining
            return leave(folder, ready.loaders, model.eval(), ready.settings, read_checkpoint(kept).settings["epoch"])
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted: {_saved(last)}") from None
    except Exception as error:
        text = str(error) if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: {error}"
        text = " ".join(text.split())
        raise ValueError(
            f"{text}; {folder} is trained but has no results yet: fix this first; {_saved(last)}"
        ) from error


def _saved(last: Path) -> str:
    return f"{last} is saved, continue with --resume" if last.is_file() else "nothing was saved yet"


def _room(recipe: Recipe, last: Path) -> str:
    """What to do when memory is short. A run that has begun cannot change its batch_size."""
    lean = " --memory lean" if recipe.memory == "plain" else ""
    if not last.is_file():
        return f"add{lean}, or lower batch_size" if lean else "lower batch_size"
    other = "lower batch_size in another --run NAME"
    return f"{_saved(last)}{lean}, or {other}" if lean else f"{other}, or --resume on a device with more memory"


def _folder_of(recipe: Recipe) -> Path:
    run = recipe.run or ""
    if Path(run).name != run or run in ("", ".."):
        raise ValueError(f"run {run!r} is not a name: give one word, and set its parent folder with --out")
    return Path(recipe.out) / run


def _check_place(folder: Path, resume: bool, room: int = 0) -> None:
    """Raises ValueError if a run's folder cannot be written, or has files in it and `resume` is false."""
    if rank_zero_only.rank == 0:
        if not (resume or _is_new(folder)):
            raise ValueError(f"{folder} exists: continue it with --resume, or name another run with --run NAME")
        check_output("--out", folder, folder=True, room=room)


def _is_new(folder: Path) -> bool:
    return not folder.is_dir() or all(entry.name == LOCK for entry in folder.iterdir())


@contextmanager
def _claimed(folder: Path, ready: Prepared, resume: bool, processes: int) -> Iterator[Path | None]:
    """Makes and locks the run's folder, writes the settings into it, and yields the checkpoint to resume from, if any.

    Everything is checked before anything is written. A new folder is deleted again if the run ends without a
    checkpoint, so that its name stays free.
    """
    recipe, last = ready.loaders.recipe, folder / "checkpoints" / LAST
    if rank_zero_only.rank != 0:
        yield _begun(last, ready, processes) if resume else None
        return
    weights = sum(tensor.nbytes for tensor in ready.model.state_dict().values())
    _check_place(folder, resume, room=weights * (2 if last.is_file() else recipe.keep + 3))  # at the least
    new = [place for place in folder.parents if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    in_use = f"another process is training in {folder}: wait until it ends, or name another run with --run NAME"
    with held(folder, in_use):
        is_new = _is_new(folder)
        _check_place(folder, resume)  # another process may have been faster
        begun = _begun(last, ready, processes) if resume else None
        try:
            atomic_write(folder / "settings.yaml", yaml.safe_dump(recipe.to_dict(), sort_keys=False))
            note_start(folder, recipe, digest_of(ready.loaders.sets, recipe.data.name))
            yield begun
        finally:
            if is_new and not any(last.parent.glob("*.ckpt")):
                shutil.rmtree(folder, ignore_errors=True)
                with suppress(OSError):  # another run's folder may be there by now
                    for place in new:
                        place.rmdir()


def _begun(last: Path, ready: Prepared, processes: int) -> Path | None:
    """The checkpoint to resume a run from, if any. Raises ValueError if the recipe would make it another run."""
    if begun := newest_whole(last.parent):
        settings = read_checkpoint(begun).settings
        check_processes_alike(begun, settings.get("processes", processes), processes)
        check_resumable(ready.loaders.recipe, settings.get("recipe", {}), last.parent.parent, ready.loaders.sets)
    return begun
