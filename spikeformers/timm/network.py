"""A spiking transformer that speaks timm's dialect."""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from spikeformers.checkpoints.keys import translate
from spikeformers.checkpoints.load import load_checkpoint
from spikeformers.layers.chain import run_plain
from spikeformers.models import SpikingTransformer
from spikeformers.models.recompute import recomputed, set_run
from spikeformers.models.registry import find_family

Indices = int | Sequence[int] | None  # timm's: so many from the end, those, or all


class TimmSpikingTransformer(SpikingTransformer):
    """A `SpikingTransformer` made of another's parts, under the same keys, with what timm asks of a model.

    The other is one of `create_model`, of a registered name.
    """

    pretrained_cfg: dict[str, Any]
    default_cfg: dict[str, Any]

    def __init__(self, model: SpikingTransformer):
        super().__init__(
            stem=model.stem,
            position=model.position,
            blocks=model.blocks,
            head=model.head,
            time_steps=model.time_steps,
            image_size=model.image_size,
        )
        self._stages = model.stages  # of the whole, also where blocks are cut off
        self.config = self._whole = model.config  # the second stays, with the depth, for reading files of the whole
        self._depth = len(model.blocks)

    @property
    def in_chans(self) -> int:
        return self.in_channels

    @property
    def num_features(self) -> int:
        return self.head.dim

    @property
    def head_hidden_size(self) -> int:
        return self.num_features

    @property
    def feature_info(self) -> list[dict[str, Any]]:
        return [dict(num_chs=s.dim, reduction=s.reduction, module=f"blocks.{s.last_block}") for s in self.stages]

    def forward_stages(self, x: Tensor, indices: Indices = None) -> list[Tensor]:
        """The stream behind each of the stages in `indices`, and no further: `[T, B, C, H, W]` each."""
        taken = [self.stages[i].last_block for i in self._take(indices)]
        ends = {}
        x = self.forward_stem(x)
        for number, block in enumerate(self.blocks[: max(taken) + 1]):
            x = self.run(block, x)
            if number in taken:
                ends[number] = x
        return [ends[number] for number in taken]

    def forward_intermediates(
        self,
        x: Tensor,
        indices: Indices = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """The maps of the stages in `indices`, averaged over time, `[B, C, H, W]` each, and ahead of them the stream.

        The stream `[T, B, C, H, W]` is that of `forward_features`, with `stop_early` that behind the last of those
        stages; `intermediates_only` leaves it out. Raises ValueError for another format, and for `norm`, of which
        there is none behind a trunk.
        """
        if output_fmt != "NCHW" or norm:
            raise ValueError(f"norm={norm} and output_fmt={output_fmt!r} are not for maps NCHW without norm: leave out")
        steps, taken = self.forward_stages(x, indices), self._take(indices)
        maps = [step.mean(0) for step in steps]
        if intermediates_only:
            return maps
        x = steps[taken.index(max(taken))]
        for block in () if stop_early else self.blocks[self.stages[max(taken)].last_block + 1 :]:
            x = self.run(block, x)
        return x, maps

    def prune_intermediate_layers(
        self, indices: Indices = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Cuts off the blocks that none of the stages in `indices` needs, and the head; returns those stages."""
        taken = self._take(indices)
        self.blocks = self.blocks[: 1 + max(self.stages[i].last_block for i in taken)]
        if prune_head:
            self.reset_classifier(0)
        self.config = {}  # there is none that rebuilds a part
        return taken

    def get_classifier(self) -> nn.Module | tuple[nn.Module, ...]:
        """The linear layer of the head, or the two of one that was distilled."""
        layers = [self.head.get_submodule(name) for name in self.head.classifiers]
        return tuple(layers) if len(layers) > 1 else layers[0]

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        if global_pool not in (None, "avg"):
            raise ValueError(f"global_pool {global_pool!r} is not for spiking transformers, only 'avg': leave it out")
        super().reset_classifier(num_classes)

    def group_matcher(self, coarse: bool = False) -> dict[str, str]:
        """Layers from the stem to the head for timm's layer decay: one a block, or, `coarse`, one a stage."""
        stem = {"stem": r"^(?:stem|position)\."}
        if not coarse:
            return {**stem, "blocks": r"^blocks\.(\d+)\."}
        starts = [0, *(stage.last_block + 1 for stage in self.stages)]
        numbers = ["|".join(map(str, range(a, b))) for a, b in pairwise(starts)]
        return {**stem, **{f"stage{i}": rf"^blocks\.(?:{n})\." for i, n in enumerate(numbers)}}

    def no_weight_decay(self) -> set[str]:
        """The parameters that are not a convolution's, a linear layer's or a norm's: neurons', and branches' scales."""
        usual = (nn.Conv2d, nn.Linear, nn.BatchNorm2d)
        others = {name: module for name, module in self.named_modules() if not isinstance(module, usual)}
        return {f"{name}.{key}" for name, module in others.items() for key, _ in module.named_parameters(recurse=False)}

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Whether blocks keep only their input and run again in the backward pass: `sf.recompute_blocks`."""
        set_run(self, recomputed if enable else run_plain)

    @property
    def grad_checkpointing(self) -> bool:
        return self.run is recomputed

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """torch's, for our keys and for those of the family's released files.

        What a file has for a head or blocks that were cut off is left out.
        """
        ours = self.state_dict()
        weights = translate(state_dict, find_family(self._whole["name"]), self._whole, ours)
        weights = {key: value for key, value in weights.items() if key in ours or not self._is_cut(key)}
        return super().load_state_dict(weights, strict, assign)

    def load_pretrained(self, path: str) -> None:
        """`load_checkpoint`: timm calls it for a file of `pretrained_cfg`."""
        load_checkpoint(self, path)

    def _is_cut(self, key: str) -> bool:
        if block := re.match(r"blocks\.(\d+)\.", key):
            return len(self.blocks) <= int(block[1]) < self._depth
        return key.startswith("head.") and self.num_classes == 0

    def _take(self, indices: Indices) -> list[int]:
        count = len(self.stages)
        indices = count if indices is None else indices
        wanted = range(-indices, 0) if isinstance(indices, int) else indices
        if not wanted or not all(-count <= i < count for i in wanted):
            raise ValueError(
                f"out_indices {indices} are not among the {count} stages: count from 0, or from the end, -1"
            )
        return [i % count for i in wanted]
