"""Preparing a run: model, data and loss from a recipe, checked before anything is written."""

from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import torch

from spikeformers.data import load_sets
from spikeformers.data.loading import unwrap_worker_errors
from spikeformers.data.sets import Sets
from spikeformers.evaluation.test_set import preprocess_for
from spikeformers.models import SpikingTransformer, check_model
from spikeformers.models.building import rebuild
from spikeformers.models.own_code import user_code_errors
from spikeformers.models.parts import argument_errors
from spikeformers.training.class_balance import class_weights
from spikeformers.training.loaders import Loaders
from spikeformers.training.module import TrainingModule
from spikeformers.training.optim import make_optimizer, make_schedule
from spikeformers.training.recipe import Recipe
from spikeformers.training.start import check_start, start_from
from spikeformers.training.teacher import Teacher
from spikeformers.training.trainer import check_trainer


@dataclass(frozen=True)
class Prepared:
    """The model, data and loss of a recipe, built and checked."""

    model: SpikingTransformer
    loaders: Loaders
    module: TrainingModule
    settings: dict[str, Any]  # stored in checkpoints


def prepare(recipe: Recipe, sets: Sets | None = None, *, starts: bool = True) -> Prepared:
    """Builds what a run needs and tries it out. `sets` are the recipe's data, if already read.

    `starts` says whether the weights of `start_from` are read: a run that resumes has its own.

    Raises ValueError or FileNotFoundError if settings, data or parts do not fit.
    """
    recipe.check()  # fields may have been set after construction
    check_trainer(recipe)
    if starts:
        check_start(recipe)
    sets = sets or load_sets(asdict(recipe.data), seed=recipe.seed)
    torch.manual_seed(recipe.seed)
    with user_code_errors(recipe.model):
        model = rebuild(_fitted_to(sets, recipe.model))
    if starts and recipe.start_from:
        start_from(model, recipe.start_from)
    preprocess = preprocess_for(sets, asdict(recipe.data), model)
    with unwrap_worker_errors():
        loaders = Loaders(recipe, sets, preprocess)
    settings = {
        "config": model.config,
        "preprocess": preprocess,
        "classes": list(sets.classes),
        "recipe": recipe.to_dict(),
        "version": version("spikeformers"),
    }
    module = TrainingModule(recipe, model, settings)
    if recipe.loss.class_balance:
        module.objective.class_weights = class_weights(sets.train, len(sets.classes), recipe.loss.class_balance)
    with user_code_errors(recipe.model), argument_errors(recipe.model):
        _try_out(recipe, model)
    if (teacher := module.objective.teacher) is not None:
        steps = (model.time_steps,) if sets.kind == "recordings" else ()
        _try_teacher(recipe, teacher, (*steps, 1, *model.image_shape), model.num_classes)
    return Prepared(model, loaders, module, settings)


def _fitted_to(sets: Sets, model: dict[str, Any]) -> dict[str, Any]:
    """A recipe's model with the classes and channels of the set. Raises ValueError if the recipe sets others."""
    ends = {"num_classes": len(sets.classes), "in_channels": sets.channels}
    if model.get("num_classes") == 0:  # it learns without labels
        del ends["num_classes"]
    for key, value in ends.items():
        if model.get(key, value) != value:
            raise ValueError(f"model.{key} is {model[key]}, but {sets.name} has {value}: leave it out of the recipe")
    return {**model, **ends}


def _try_out(recipe: Recipe, model: SpikingTransformer) -> None:
    """Raises early, before the run folder is made, for parts that do not fit, names unknown to timm and wrong sizes."""
    check_model(model)
    make_schedule(recipe, make_optimizer(recipe, model), max(1, 2 * recipe.schedule.warmup_updates))
    with torch.device("meta"), torch.no_grad():
        twin = rebuild(model.config).eval()
        twin.forward_outputs(torch.empty(1, *model.image_shape))


def _try_teacher(recipe: Recipe, teacher: Teacher, shape: tuple[int, ...], classes: int) -> None:
    """Raises ValueError for a teacher that does not classify the student's inputs, of this shape with a batch of 1."""
    given = "recordings" if len(shape) == 5 else "images"
    named = f"distill.teacher {recipe.distill.teacher}"
    try:
        logits: Any = teacher(torch.zeros(shape))
    except Exception as error:  # of any model of timm
        said = " ".join(f"{type(error).__name__}: {error}".split())
        size = [*shape[:-4], *shape[-3:]]
        raise ValueError(
            f"{named} cannot take {given} of {size} ({said}): give another teacher, or its size as model.image_size"
        ) from error
    if not isinstance(logits, torch.Tensor) or logits.shape != (1, classes):
        raise ValueError(f"{named} does not classify {given}: give a classifier")
