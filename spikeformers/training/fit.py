"""Running a recipe, from its data to a run folder."""

import logging
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
import yaml
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.fabric.utilities.rank_zero import rank_zero_only

from spikeformers.checkpoints.load import load_checkpoint
from spikeformers.checkpoints.read import read_checkpoint
from spikeformers.data.loading import unwrap_worker_errors
from spikeformers.files import LOCK, atomic_write, check_output, held
from spikeformers.models.parts import own_files, user_code_errors
from spikeformers.training.checkpoint_file import LAST, newest_whole, set_aside_newer
from spikeformers.training.interruption import Terminated
from spikeformers.training.optim import total_epochs
from spikeformers.training.prepare import Prepared, prepare
from spikeformers.training.provenance import note_start
from spikeformers.training.recipe import Recipe
from spikeformers.training.recipe_file import read_recipe
from spikeformers.training.results import Result, leave_pretraining, leave_results
from spikeformers.training.resume import check_resumable, digest_of
from spikeformers.training.trainer import make_trainer, quiet_lightning

logger = logging.getLogger("spikeformers")


def fit(recipe: str | Recipe, *, resume: bool = False, **overrides: Any) -> Result:
    """Trains by a recipe, and leaves weights, settings, metrics and pictures in its run folder.

        fit("digits", epochs=3)
        fit("digits", model={"neuron": PLIF}, optimizer={"lr": 1e-3}, run="plif")

    `recipe` is a name, a file or a `Recipe`; `overrides` are its fields. `resume` goes on with the run of that name
    from its last checkpoint, or starts it where there is none.

    Raises ValueError or FileNotFoundError, in one line, for settings or data that do not fit, for a run that exists
    or is at work, and, naming the place, for a loss that is not finite; OSError where a checkpoint cannot be written;
    KeyboardInterrupt after Ctrl-C, and SystemExit with status 143 after SIGTERM or SLURM's warning, with one saved.
    """
    if isinstance(recipe, str):
        recipe = read_recipe(recipe, overrides)
    elif overrides:
        raise ValueError(f"a Recipe is complete: change {', '.join(overrides)} in it, or give the recipe by name")
    folder = _folder_of(recipe)
    _check_place(folder, resume)
    ready = prepare(recipe)
    with quiet_lightning():
        trainer = make_trainer(recipe, folder)
        with _claimed(folder, ready, resume) as begun:
            if (cooling := recipe.schedule.cooldown_epochs) and rank_zero_only.rank == 0:
                logger.warning(
                    "%d epochs and %d of cool-down, %d in all; --schedule.cooldown_epochs 0 leaves it out",
                    recipe.epochs, cooling, total_epochs(recipe),
                )  # fmt: skip
            _train(trainer, ready, folder, begun)
            if rank_zero_only.rank != 0:
                raise SystemExit(0)  # the other processes of a distributed run end here
            return _finish(trainer, ready, folder)


def _train(trainer: pl.Trainer, ready: Prepared, folder: Path, begun: Path | None) -> None:
    recipe, last = ready.loaders.recipe, folder / "checkpoints" / LAST
    if begun:
        set_aside_newer(begun)
        logger.warning("going on with %s", begun)
    try:
        with unwrap_worker_errors(), user_code_errors(own_files(recipe.model)):
            trainer.fit(ready.module, datamodule=ready.loaders, ckpt_path=begun, weights_only=True)
    except SystemExit:  # how Lightning passes on Ctrl-C, with the signal ignored from then on
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
    except torch.OutOfMemoryError as error:
        raise ValueError(
            f"a step needs more memory than the device has ({' '.join(str(error).split())[:160]}): "
            f"{_room(recipe, last)}"
        ) from error


def _finish(trainer: pl.Trainer, ready: Prepared, folder: Path) -> Result:
    """Leaves what a trained run has to show. Raises ValueError, whatever went wrong: the training is not lost."""
    model, last = ready.model, folder / "checkpoints" / LAST
    best = last.with_name("best.ckpt")
    kept = best if best.is_file() else last
    leave = leave_results if ready.module.objective.labelled else leave_pretraining
    try:
        with unwrap_worker_errors():
            load_checkpoint(model, kept).to(trainer.strategy.root_device)  # the Trainer has moved it to the CPU
            return leave(folder, ready.loaders, model.eval(), ready.settings, read_checkpoint(kept).settings["epoch"])
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted: {_saved(last)}") from None
    except Exception as error:
        said = str(error) if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: {error}"
        said = " ".join(said.split())
        raise ValueError(
            f"{said}; {folder} is trained, and has no results yet: mend that, and {_saved(last)}"
        ) from error


def _saved(last: Path) -> str:
    return f"{last} is saved, go on with --resume" if last.is_file() else "before there was anything to save"


def _room(recipe: Recipe, last: Path) -> str:
    """What to do where memory is short; with another batch_size a run that has begun would be another run."""
    lean = " --memory lean" if recipe.memory == "plain" else ""
    if not last.is_file():
        return f"add{lean}, or lower batch_size" if lean else "lower batch_size"
    other = "lower batch_size in another --run NAME"
    return f"{_saved(last)}{lean}, or {other}" if lean else f"{other}, or go on where there is more, with --resume"


def _folder_of(recipe: Recipe) -> Path:
    run = recipe.run or ""
    if Path(run).name != run or run in ("", ".."):
        raise ValueError(f"run {run!r} is not a name: give one word, and the folder it goes to with --out")
    return Path(recipe.out) / run


def _check_place(folder: Path, resume: bool, room: int = 0) -> None:
    """Raises ValueError where a run's folder cannot be written, or has something in it and is not gone on with."""
    if rank_zero_only.rank == 0:
        if not (resume or _is_new(folder)):
            raise ValueError(f"{folder} exists: go on with it by --resume, or name another by --run NAME")
        check_output("--out", folder, folder=True, room=room)


def _is_new(folder: Path) -> bool:
    return not folder.is_dir() or all(entry.name == LOCK for entry in folder.iterdir())


@contextmanager
def _claimed(folder: Path, ready: Prepared, resume: bool) -> Iterator[Path | None]:
    """Holds the run's folder, made if need be and with its settings inside; the checkpoint to go on with, if any.

    Before anything is written, all is checked. A new folder without a step of training goes again: its name is free.
    """
    recipe, last = ready.loaders.recipe, folder / "checkpoints" / LAST
    if rank_zero_only.rank != 0:
        yield _begun(last, ready) if resume else None
        return
    weights = sum(tensor.nbytes for tensor in ready.model.state_dict().values())
    _check_place(folder, resume, room=weights * (2 if last.is_file() else recipe.keep + 3))  # at the least
    folder.mkdir(parents=True, exist_ok=True)
    at_work = f"another process is at work in {folder}: wait for its end, or name another run by --run NAME"
    with held(folder, at_work):
        is_new = _is_new(folder)
        _check_place(folder, resume)  # another process may have been faster
        begun = _begun(last, ready) if resume else None
        try:
            atomic_write(folder / "settings.yaml", yaml.safe_dump(recipe.to_dict(), sort_keys=False))
            note_start(folder, recipe, digest_of(ready.loaders.sets, recipe.data.name))
            yield begun
        finally:
            if is_new and not last.is_file():
                shutil.rmtree(folder, ignore_errors=True)


def _begun(last: Path, ready: Prepared) -> Path | None:
    """The checkpoint of a run to go on with. Raises ValueError where it would not be the same run."""
    if begun := newest_whole(last.parent):
        began_with = read_checkpoint(begun).settings.get("recipe", {})
        check_resumable(ready.loaders.recipe, began_with, last.parent.parent, ready.loaders.sets)
    return begun
