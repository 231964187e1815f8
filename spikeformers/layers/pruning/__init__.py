"""Token pruning: a block that runs on some tokens of its map and passes the others on unchanged.

Its state-dict keys are the block's.
"""

from spikeformers.layers.pruning.prune import prune_tokens
from spikeformers.layers.pruning.released import ReleasedTokenPruning
from spikeformers.layers.pruning.token_pruning import TokenPruning

__all__ = ["ReleasedTokenPruning", "TokenPruning", "prune_tokens"]
