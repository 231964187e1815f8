"""Starting from given weights: for more time steps, larger images, other classes, or after pre-training."""

from spikeformers.checkpoints.load import load_checkpoint
from spikeformers.models import SpikingTransformer
from spikeformers.training.recipe import Recipe


def check_start(recipe: Recipe) -> None:
    """Raises ValueError for a recipe that needs initial weights and has none."""
    if recipe.start_needed and not recipe.start_from:
        raise ValueError(
            f"{recipe.run} starts from {recipe.start_needed}: train or download those first, and give the run's folder "
            "or the file with --start_from"
        )


def start_from(model: SpikingTransformer, path: str) -> SpikingTransformer:
    """Loads the trunk of a checkpoint, of this library or released by authors, into a model in place, and returns it.

    Heads, a first convolution for other channels and the scales of branches may stay new; other keys of the file, such
    as a decoder's, are skipped. Both are logged. The rest of the trunk must be in the file.

    Raises what `load_checkpoint` raises.
    """
    return load_checkpoint(model, path, new=("head", "stem", "scales"), trunk_only=True)
