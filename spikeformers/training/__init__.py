"""Training on Lightning: recipes are typed settings, `fit` runs one and leaves a run folder behind."""

from spikeformers.training.fit import Result, fit
from spikeformers.training.recipe import Recipe
from spikeformers.training.recipe_file import list_recipes, read_recipe

__all__ = ["Recipe", "Result", "fit", "list_recipes", "read_recipe"]
