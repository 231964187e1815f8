"""Starting from other weights: for more time steps, larger images, other classes, or after pre-training."""

import logging

from torch import nn

from spikeformers.layers.layer_scale import LayerScale
from spikeformers.models import SpikingTransformer, read_checkpoint
from spikeformers.models._registry import find_family
from spikeformers.models._released import translate
from spikeformers.training.recipe import Recipe

logger = logging.getLogger("spikeformers")


def check_start(recipe: Recipe) -> None:
    """Raises ValueError for a recipe that begins with other weights, and was given none."""
    if recipe.start_needed and not recipe.start_from:
        raise ValueError(
            f"{recipe.run} begins with {recipe.start_needed}: train those first, or have them, and give the run's "
            "folder or the file by --start_from"
        )


def start_from(model: SpikingTransformer, path: str) -> SpikingTransformer:
    """Loads the trunk of a checkpoint, ours or released, into a model in place, and returns it.

    What the file cannot fill stays as it is made: heads it lacks or has for other classes, the first convolution where
    it takes other channels, the scales of branches; what it has besides, such as a decoder, is left out. Log lines say
    so. All else of the trunk must be there.

    Raises what `read_checkpoint` raises, and ValueError, naming the first of them, for keys or shapes that differ.
    """
    checkpoint = read_checkpoint(path)
    ours, weights = model.state_dict(), checkpoint.weights
    if (name := model.config.get("name")) and ":" not in name:
        weights = translate(weights, find_family(name), model.config, ours)
    fits = {key: value for key, value in weights.items() if key in ours and value.shape == ours[key].shape}
    scales = {f"{n}.scale" for n, module in model.named_modules() if isinstance(module, LayerScale)}
    missing = [key for key in ours if key not in fits and not key.endswith("num_batches_tracked")]
    faults = [key for key in missing if not key.startswith("head.") and key not in {*scales, *_first_convs(model)}]
    if faults or not fits:
        shapes = [f"{key} {list(ours[key].shape)}" for key in faults[:5]]
        held = checkpoint.config.get("name", "something else")
        raise ValueError(
            f"{path} does not fit {name}: it lacks {', '.join(shapes) or 'all of it'}"
            + (f" and {len(faults) - 5} more" if len(faults) > 5 else "")
            + f"; it holds {held}"
        )
    if missing:
        logger.warning("%s has no weights for %s: they are new", path, _parts(missing))
    if unused := [key for key in weights if key not in ours]:
        logger.warning("%s has %s besides: left out", path, _parts(unused))
    model.load_state_dict({**ours, **fits})
    return model


def _first_convs(model: SpikingTransformer) -> set[str]:
    """The convolutions that read the image."""
    convs = model.stem.named_modules(prefix="stem")
    return {f"{n}.weight" for n, m in convs if isinstance(m, nn.Conv2d) and m.in_channels == model.in_channels}


def _parts(keys: list[str]) -> str:
    """`head.linear and 24 blocks' scale`: keys without what is the same in all blocks."""
    names = dict.fromkeys(
        ".".join(word for word in key.rpartition(".")[0].split(".") if not word.isdigit()) or key for key in keys
    )
    shown = [*names][:4]
    return ", ".join(shown) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
