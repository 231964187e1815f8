"""Training on Lightning: a recipe is a set of typed settings, and `fit` runs one into a run folder."""

from spikeformers.training.fit import fit
from spikeformers.training.recipe import Recipe
from spikeformers.training.recipe_file import list_recipes, read_recipe
from spikeformers.training.results import Result

__all__ = ["Recipe", "Result", "fit", "list_recipes", "read_recipe"]
