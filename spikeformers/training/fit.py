"""Running a recipe, from its data to a run folder."""

import logging
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.fabric.utilities.rank_zero import rank_zero_only

from spikeformers.checkpoints.load import load_checkpoint
from spikeformers.checkpoints.read import read_checkpoint
from spikeformers.data.loading import unwrap_worker_errors
from spikeformers.files import atomic_write
from spikeformers.models.sdt_v3_mae import MaskedAutoencoder
from spikeformers.training.checkpoint_file import LAST, newest_whole, set_aside_newer
from spikeformers.training.interruption import Terminated
from spikeformers.training.optim import total_epochs
from spikeformers.training.prepare import prepare
from spikeformers.training.provenance import changed_files, note_start
from spikeformers.training.recipe import Recipe
from spikeformers.training.recipe_file import read_recipe
from spikeformers.training.results import Result, leave_pretraining, leave_results
from spikeformers.training.trainer import make_trainer, quiet_lightning

logger = logging.getLogger("spikeformers")

# Settings that a run may go on with others of: where it lies, and on what it runs.
_FREE_TO_CHANGE = (
    "out", "run", "trainer.", "data.root", "data.cache", "data.skip_broken", "profile_every", "save_minutes", "keep",
    "stop_if_unsaved",
)  # fmt: skip


def fit(recipe: str | Recipe, *, resume: bool = False, **overrides: Any) -> Result:
    """Trains by a recipe, and leaves weights, settings, metrics and pictures in its run folder.

        fit("digits", epochs=3)
        fit("digits", model={"neuron": PLIF}, optimizer={"lr": 1e-3}, run="plif")

    `recipe` is a name, a file or a `Recipe`; `overrides` are its fields. `resume` goes on with the run of that name
    from its last checkpoint, or starts it where there is none.

    Raises ValueError or FileNotFoundError, in one line, for settings or data that do not fit, for a run that exists
    and, naming the place, for a loss that is not finite; OSError where a checkpoint cannot be written;
    KeyboardInterrupt after Ctrl-C, and SystemExit with status 143 after SIGTERM or SLURM's warning, with one saved.
    """
    if isinstance(recipe, str):
        recipe = read_recipe(recipe, overrides)
    elif overrides:
        raise ValueError(f"a Recipe is complete: change {', '.join(overrides)} in it, or give the recipe by name")
    ready = prepare(recipe)
    model, loaders, settings = ready.model, ready.loaders, ready.settings
    folder = _folder_of(recipe)
    last = folder / "checkpoints" / LAST
    begun = newest_whole(last.parent) if resume else None
    if begun:
        _check_same_run(recipe, begun)
    with quiet_lightning():
        trainer = make_trainer(recipe, folder)
        changed = changed_files(folder, recipe)
        is_new = _claim(folder, recipe, resume)  # nothing is written before all of the above has held
        if (cooling := recipe.schedule.cooldown_epochs) and rank_zero_only.rank == 0:
            logger.warning(
                "%d epochs and %d of cool-down, %d in all; --schedule.cooldown_epochs 0 leaves it out",
                recipe.epochs, cooling, total_epochs(recipe),
            )  # fmt: skip
        if begun:
            for file in changed:
                logger.warning("%s has changed since %s was last started", file, folder)
            set_aside_newer(begun)
            logger.warning("going on with %s", begun)
        try:
            with unwrap_worker_errors():
                trainer.fit(ready.module, datamodule=loaders, ckpt_path=begun, weights_only=True)
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
        finally:
            if is_new and not last.is_file():
                shutil.rmtree(folder)  # it holds settings and no step of training: its name is free again
    if rank_zero_only.rank != 0:
        raise SystemExit(0)  # the other processes of a distributed run end here
    best = last.with_name("best.ckpt")
    kept = best if best.is_file() else last
    load_checkpoint(model, kept).to(trainer.strategy.root_device)  # the Trainer has moved it to the CPU
    with unwrap_worker_errors():
        leave = leave_pretraining if isinstance(model, MaskedAutoencoder) else leave_results
        return leave(folder, loaders, model.eval(), settings, read_checkpoint(kept).settings["epoch"])


def _check_same_run(recipe: Recipe, last: Path) -> None:
    """Raises ValueError for a checkpoint that began with other settings."""
    check_same_settings(recipe, read_checkpoint(last).settings.get("recipe", {}), last.parent.parent)


def check_same_settings(recipe: Recipe, began_with: dict[str, Any], folder: Path) -> None:
    """Raises ValueError where the run in `folder` began with other settings than a recipe's."""
    began, now = flat_settings(began_with), flat_settings(recipe.to_dict())
    for name in {**began, **now}:
        if began.get(name) != now.get(name) and not name.startswith(_FREE_TO_CHANGE):
            raise ValueError(
                f"{name} is {now.get(name)}, and {folder} began with {began.get(name)}: a run goes on with "
                "its own settings, in its settings.yaml; for others name another by --run NAME"
            )


def _saved(last: Path) -> str:
    return f"{last} is saved, go on with --resume" if last.is_file() else "before there was anything to save"


def flat_settings(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by their dotted names, as `model.dim`."""
    flat = {}
    for key, value in settings.items():
        flat |= flat_settings(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def _folder_of(recipe: Recipe) -> Path:
    run = recipe.run or ""
    if Path(run).name != run or run in ("", ".."):
        raise ValueError(f"run {run!r} is not a name: give one word, and the folder it goes to with --out")
    return Path(recipe.out) / run


def _claim(folder: Path, recipe: Recipe, resume: bool) -> bool:
    """Makes the run's folder, with its settings inside; whether there was nothing in it before."""
    if rank_zero_only.rank != 0:
        return False
    is_new = not (folder.is_dir() and any(folder.iterdir()))
    if not (is_new or resume):
        raise ValueError(f"{folder} exists: go on with it by --resume, or name another by --run NAME")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        atomic_write(folder / "settings.yaml", yaml.safe_dump(recipe.to_dict(), sort_keys=False))
        note_start(folder, recipe)
    except OSError as error:
        raise ValueError(f"{folder} cannot be written ({error.strerror}): choose another folder with --out") from error
    return is_new
