"""Pruning the tokens of a whole model."""

from typing import Any, TypeVar

from torch import nn

from spikeformers.layers.contracts import MakePruning

Model = TypeVar("Model", bound=nn.Module)


def prune_tokens(model: Model, pruning: MakePruning) -> Model:
    """Makes each attention block of a model run on some tokens only, in place; keys and weights stay as they are.

        prune_tokens(sf.from_pretrained(...), partial(TokenPruning, keep=0.75))

    A model that `create_model` builds with `pruning=` can be rebuilt from its config; one changed by this function
    cannot.

    Args:
        model: A model with blocks of `attn` and what follows, flat or in stages.
        pruning: `pruning(block, number, count)` turns block `number` of `count` into one that runs on fewer tokens.

    Returns:
        The same model.

    Raises:
        ValueError: It has no blocks with attention, or one of them cannot be pruned.
    """
    blocks: Any = model.blocks
    places = [i for i, block in enumerate(blocks) if isinstance(block, nn.Sequential) and hasattr(block, "attn")]
    if not places:
        raise ValueError("the model has no blocks with attention, whose tokens could be pruned: leave out pruning")
    for number, place in enumerate(places):
        blocks[place] = pruning(blocks[place], number, len(places))
    return model
