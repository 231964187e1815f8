"""Running a recipe, from its data to a run folder."""

import csv
import json
import logging
import shutil
import signal
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.fabric.utilities.rank_zero import rank_zero_only

from spikeformers.data import EventSets, ImageSets, load_sets
from spikeformers.models import (
    SpikingTransformer,
    check_model,
    create_model,
    load_checkpoint,
    read_checkpoint,
    save_pretrained,
)
from spikeformers.models.sdt_v3_mae import MaskedAutoencoder
from spikeformers.training.checkpoint_file import LAST, newest_whole, set_aside_newer
from spikeformers.training.evaluate import Scores, evaluate
from spikeformers.training.interruption import Terminated
from spikeformers.training.loaders import Loaders, errors_of_workers
from spikeformers.training.module import TrainingModule, time_first
from spikeformers.training.optim import make_optimizer, make_schedule
from spikeformers.training.pictures import draw_curves, draw_predictions
from spikeformers.training.provenance import note_start
from spikeformers.training.recipe import Recipe
from spikeformers.training.recipe_file import read_recipe
from spikeformers.training.start import check_start, start_from
from spikeformers.training.trainer import check_trainer, make_trainer, quiet_lightning

logger = logging.getLogger("spikeformers")

# Settings that a run may go on with others of: where it lies, and on what it runs.
_FREE_TO_CHANGE = (
    "out", "run", "trainer.", "data.root", "data.cache", "profile_every", "save_minutes", "keep", "stop_if_unsaved"
)  # fmt: skip


@dataclass(frozen=True)
class Result:
    """What a finished run has to show: test scores of the weights it keeps, and where everything lies.

    The weights are those of the best epoch (counted from 1) on validation images, or of the last where there are none.
    """

    run: Path
    weights: Path
    test: Scores | None  # None of a model that learnt without labels
    epoch: int
    best_on_test: float | None  # the highest test accuracy of any epoch, as papers report; it chose nothing


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
        is_new = _claim(folder, recipe, resume)  # nothing is written before all of the above has held
        if begun:
            set_aside_newer(begun)
            logger.warning("going on with %s", begun)
        try:
            with errors_of_workers():
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
    with errors_of_workers():
        leave = _leave_pretraining if isinstance(model, MaskedAutoencoder) else _leave_results
        return leave(folder, loaders, model.eval(), settings, read_checkpoint(kept).settings["epoch"])


@dataclass(frozen=True)
class Prepared:
    """What a recipe names, built and found to go together, before anything is written."""

    model: SpikingTransformer
    loaders: Loaders
    module: TrainingModule
    settings: dict[str, Any]  # what travels with a checkpoint


def prepare(recipe: Recipe, sets: ImageSets | EventSets | None = None) -> Prepared:
    """Builds what a run needs, and tries it out; `sets` are the recipe's data, where they are read already.

    Raises ValueError or FileNotFoundError, in one line, for settings, data or parts that do not fit.
    """
    check_trainer(recipe)
    check_start(recipe)
    sets = sets or load_sets(asdict(recipe.data), seed=recipe.seed)
    torch.manual_seed(recipe.seed)
    model = create_model(**_fitted_to(sets, recipe.model))
    if recipe.start_from:
        start_from(model, recipe.start_from)
    preprocess = sets.preprocess(asdict(recipe.data), image_size=model.image_size, time_steps=model.time_steps)
    with errors_of_workers():
        loaders = Loaders(recipe, sets, preprocess)
    settings = {
        "config": model.config,
        "preprocess": preprocess,
        "classes": list(sets.classes),
        "recipe": recipe.to_dict(),
        "version": version("spikeformers"),
    }
    module = TrainingModule(recipe, model, settings)
    _try_out(recipe, model)
    return Prepared(model, loaders, module, settings)


def _fitted_to(sets: ImageSets | EventSets, model: dict[str, Any]) -> dict[str, Any]:
    """A recipe's model with the classes and channels of the set. Raises ValueError where it says others."""
    ends = {"num_classes": len(sets.classes), "in_channels": sets.channels}
    if model.get("num_classes") == 0:  # it learns without labels
        del ends["num_classes"]
    for key, value in ends.items():
        if model.get(key, value) != value:
            raise ValueError(f"model.{key} is {model[key]}, and {sets.name} has {value}: leave it out of the recipe")
    return {**model, **ends}


def _try_out(recipe: Recipe, model: SpikingTransformer) -> None:
    """Raises what would else be raised after the run folder is made: for parts, for names timm lacks, for sizes."""
    check_model(model)
    make_schedule(recipe, make_optimizer(recipe, model), 1)
    with torch.device("meta"), torch.no_grad():
        twin = create_model(**model.config).eval()
        twin(torch.empty(1, model.in_channels, model.image_size, model.image_size))


def _check_same_run(recipe: Recipe, last: Path) -> None:
    """Raises ValueError for a checkpoint that began with other settings."""
    check_same_settings(recipe, read_checkpoint(last).settings.get("recipe", {}), last.parent.parent)


def check_same_settings(recipe: Recipe, began_with: dict[str, Any], folder: Path) -> None:
    """Raises ValueError where the run in `folder` began with other settings than a recipe's."""
    began, now = _flat(began_with), _flat(recipe.to_dict())
    for name in {**began, **now}:
        if began.get(name) != now.get(name) and not name.startswith(_FREE_TO_CHANGE):
            raise ValueError(
                f"{name} is {now.get(name)}, and {folder} began with {began.get(name)}: a run goes on with "
                "its own settings, in its settings.yaml; for others name another by --run NAME"
            )


def _saved(last: Path) -> str:
    return f"{last} is saved, go on with --resume" if last.is_file() else "before there was anything to save"


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for key, value in settings.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
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
        unfinished = folder / "settings.yaml.unfinished"
        unfinished.write_text(yaml.safe_dump(recipe.to_dict(), sort_keys=False))
        unfinished.replace(folder / "settings.yaml")
        note_start(folder, recipe)
    except OSError as error:
        raise ValueError(f"{folder} cannot be written ({error.strerror}): choose another folder with --out") from error
    return is_new


def _leave_results(
    folder: Path, loaders: Loaders, model: SpikingTransformer, settings: dict[str, Any], epoch: int
) -> Result:
    with (folder / "metrics.csv").open(newline="") as table:
        rows = list(csv.DictReader(table))
    on_test = [float(row["test_acc"]) for row in rows if row.get("test_acc")]
    test = evaluate(model, loaders.eval_loader(loaders.test))
    weights = save_pretrained(model, folder, **settings, epoch=epoch, test=asdict(test))
    result = Result(folder, weights, test, epoch, max(on_test, default=None))

    scores = {"test": asdict(test), "epoch": epoch, "best_on_test": result.best_on_test}
    unfinished = folder / "results.json.unfinished"
    unfinished.write_text(json.dumps(scores, indent=2) + "\n")
    unfinished.replace(folder / "results.json")
    name = f"{settings['config']['name']} on {settings['recipe']['data']['name']}"
    draw_curves(folder / "metrics.csv", folder / "curves.png", name)
    _show_predictions(folder, loaders, model, settings["classes"], f"{name}: {test.top1:.2f} % of {test.images} right")
    return result


def _leave_pretraining(
    folder: Path, loaders: Loaders, model: SpikingTransformer, settings: dict[str, Any], epoch: int
) -> Result:
    weights = save_pretrained(model, folder, **settings, epoch=epoch)
    (folder / "results.json").write_text(json.dumps({"epoch": epoch}, indent=2) + "\n")
    name = f"{settings['config']['name']} on {settings['recipe']['data']['name']}"
    draw_curves(folder / "metrics.csv", folder / "curves.png", name)
    return Result(folder, weights, None, epoch, None)


def _show_predictions(
    folder: Path, loaders: Loaders, model: SpikingTransformer, classes: list[str], title: str, shown: int = 32
) -> None:
    """Draws the first test images with what the model says, and leaves five of them as files to try `predict` on."""
    batch = next(iter(loaders.eval_loader(loaders.test)))[0][:shown].to(next(model.parameters()).device)
    with torch.inference_mode():
        confidences, labels = model(time_first(batch)).softmax(-1).max(-1)
    sets = loaders.sets
    items, truths = zip(*(loaders.test.source(i) for i in range(len(batch))), strict=True)
    said = [(classes[k], p) for k, p in zip(labels.tolist(), confidences.tolist(), strict=True)]
    draw_predictions(
        [sets.picture(item) for item in items], [classes[k] for k in truths], said, folder / "predictions.png", title
    )
    (folder / "samples").mkdir(exist_ok=True)
    for i in range(min(5, len(items))):
        sets.keep(items[i], folder / "samples" / f"{i + 1}-true-{classes[truths[i]].replace('/', '-')}")
