"""Stages in a flat list of blocks, with a downsampling block between any two stages."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Stage(NamedTuple):
    """The end of a stage: the index of its last block, its width, and the reduction relative to the image.

    A first stage of no blocks ends with the stem: -1.
    """

    last_block: int
    dim: int
    reduction: int


def stage_renames(depths: Sequence[int]) -> list[tuple[str, str]]:
    """Pairs for `re.sub` from released keys that count blocks per stage to ours: `stage2.0.` -> `blocks.2.`.

    Released `stage` and `patch_embed` count from 1; `patch_embed1` is the stem.
    """
    renames = [(r"^patch_embed1\.", "stem.")]
    for number, depth in enumerate(depths):
        start = sum(depths[:number]) + number
        if number:
            renames.append((rf"^patch_embed{number + 1}\.", f"blocks.{start - 1}."))
        renames += [(rf"^stage{number + 1}\.{i}\.", f"blocks.{start + i}.") for i in range(depth)]
    return renames


def stem_convs(config: Mapping[str, Any]) -> list[str]:
    """Our names for the convolutions of a `SPEDS` stem, in order: `stem.lead.0.proj`, `stem.main.0.proj`, ..."""
    lead = config["stem"].get("lead", 1) if isinstance(config["stem"], dict) else 1
    beside = len(config["strides"]) - lead
    return [f"stem.lead.{i}.proj" for i in range(lead)] + [f"stem.main.{i}.proj" for i in range(beside)]
