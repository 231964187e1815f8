"""Pruning of tokens: a block that runs on some tokens of its map, and lets the others pass. It has the block's keys."""

from spikeformers.layers.pruning.prune import prune_tokens
from spikeformers.layers.pruning.released import ReleasedTokenPruning
from spikeformers.layers.pruning.token_pruning import TokenPruning

__all__ = ["ReleasedTokenPruning", "TokenPruning", "prune_tokens"]
