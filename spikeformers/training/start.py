"""Starting from other weights: for more time steps, larger images, other classes, or after pre-training."""

from spikeformers.checkpoints.load import load_checkpoint
from spikeformers.models import SpikingTransformer
from spikeformers.training.recipe import Recipe


def check_start(recipe: Recipe) -> None:
    """Raises ValueError for a recipe that begins with other weights, and was given none."""
    if recipe.start_needed and not recipe.start_from:
        raise ValueError(
            f"{recipe.run} begins with {recipe.start_needed}: train those first, or have them, and give the run's "
            "folder or the file by --start_from"
        )


def start_from(model: SpikingTransformer, path: str) -> SpikingTransformer:
    """Loads the trunk of a checkpoint, ours or released, into a model in place, and returns it.

    Heads, a first convolution for other channels and the scales of branches may be new; what the file has besides,
    such as a decoder, is left out. Log lines say so. The rest of the trunk must be there.

    Raises what `load_checkpoint` raises.
    """
    return load_checkpoint(model, path, new=("head", "stem", "scales"), trunk_only=True)
