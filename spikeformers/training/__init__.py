"""Training on Lightning: recipes are typed settings, `fit` runs one and leaves a run folder behind."""

from spikeformers.training.fit import fit
from spikeformers.training.recipe import Recipe
from spikeformers.training.recipe_file import list_recipes, read_recipe
from spikeformers.training.results import Result

__all__ = ["Recipe", "Result", "fit", "list_recipes", "read_recipe"]
