"""A spiking transformer with timm's methods."""

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

Indices = int | Sequence[int] | None  # as in timm: the last n, these, or all


class TimmSpikingTransformer(SpikingTransformer):
    """A `SpikingTransformer` with the methods that timm needs.

    Args:
        model: A model from `create_model`, with a registered name. It shares parts and keys with this one.
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
        self._stages = model.stages  # of the whole model, even after pruning
        self.config = self._whole = (
            model.config
        )  # `_whole` and `_depth` survive pruning, to read files of the whole model
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
        ends = [f"blocks.{s.last_block}" if s.last_block >= 0 else "position" for s in self.stages]
        return [
            dict(num_chs=s.dim, reduction=s.reduction, module=end) for s, end in zip(self.stages, ends, strict=True)
        ]

    def forward_stages(self, x: Tensor, indices: Indices = None) -> list[Tensor]:
        """The stream after each stage in `indices`, `[T, B, C, H, W]` each; later blocks do not run."""
        return self._forward_ends(x, [self.stages[i] for i in self._take(indices)])

    def forward_intermediates(
        self,
        x: Tensor,
        indices: Indices = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """The final stream and the maps of some stages.

        Args:
            x: Images or sequences.
            indices: Stages to return.
            norm: Not supported: trunks have no final norm.
            stop_early: Whether to stop after the last of these stages.
            output_fmt: Only "NCHW".
            intermediates_only: Whether to return the maps alone.

        Returns:
            The stream `[T, B, C, H, W]` and a list of maps `[B, C, H, W]`, averaged over time.

        Raises:
            ValueError: `norm` or another format is requested, or there is no such stage.
        """
        if output_fmt != "NCHW" or norm:
            raise ValueError(
                f"norm={norm} and output_fmt={output_fmt!r} are not supported, only NCHW without norm: leave them out"
            )
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
        """Removes the blocks after the last stage in `indices`, and the head; returns those stages."""
        taken = self._take(indices)
        self.blocks = self.blocks[: 1 + max(self.stages[i].last_block for i in taken)]
        if prune_head:
            self.reset_classifier(0)
        self.config = {}  # a pruned model cannot be rebuilt
        return taken

    def get_classifier(self) -> nn.Module | tuple[nn.Module, ...]:
        """The linear layer of the head, or both of a distilled head."""
        layers = [self.head.get_submodule(name) for name in self.head.classifiers]
        return tuple(layers) if len(layers) > 1 else layers[0]

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        if global_pool not in (None, "avg"):
            raise ValueError(f"global_pool {global_pool!r} is not supported, only 'avg': leave it out")
        super().reset_classifier(num_classes)

    def group_matcher(self, coarse: bool = False) -> dict[str, str]:
        """Layer groups for timm's layer decay: one per block, or, if `coarse`, one per stage."""
        stem = {"stem": r"^(?:stem|position)\."}
        if not coarse:
            return {**stem, "blocks": r"^blocks\.(\d+)\."}
        starts = [0, *(stage.last_block + 1 for stage in self.stages)]
        numbers = ["|".join(map(str, range(a, b))) for a, b in pairwise(starts)]
        return {**stem, **{f"stage{i}": rf"^blocks\.(?:{n})\." for i, n in enumerate(numbers)}}

    def no_weight_decay(self) -> set[str]:
        """Parameters outside convolutions, linear layers and norms: those of neurons, and layer scales."""
        norms = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)
        usual = (nn.modules.conv._ConvNd, nn.Linear, *norms)
        others = {name: module for name, module in self.named_modules() if not isinstance(module, usual)}
        return {f"{name}.{key}" for name, module in others.items() for key, _ in module.named_parameters(recurse=False)}

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Turns recomputation of blocks on or off: `sf.recompute_blocks`."""
        set_run(self, recomputed if enable else run_plain)

    @property
    def grad_checkpointing(self) -> bool:
        return self.run is recomputed

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """As in torch, also for keys of the family's released files. Keys of a removed head or block are ignored."""
        ours = self.state_dict()
        weights = translate(state_dict, find_family(self._whole["name"]), self._whole, ours)
        weights = {key: value for key, value in weights.items() if key in ours or not self._is_cut(key)}
        return super().load_state_dict(weights, strict, assign)

    def load_pretrained(self, path: str) -> None:
        """`load_checkpoint`, which timm calls for a file in `pretrained_cfg`."""
        load_checkpoint(self, path)

    def _is_cut(self, key: str) -> bool:
        if block := re.match(r"blocks\.(\d+)\.", key):
            return len(self.blocks) <= int(block[1]) < self._depth
        return key.startswith("head.") and self.num_classes == 0

    def _take(self, indices: Indices) -> list[int]:
        count = len(self.stages)
        kept = [i for i, stage in enumerate(self.stages) if stage.last_block < len(self.blocks)]
        if indices is None:
            return kept
        wanted = range(-indices, 0) if isinstance(indices, int) else indices
        if not wanted or not all(-count <= i < count for i in wanted):
            raise ValueError(
                f"out_indices {indices} are not among the {count} stages: count from 0, or from -1 at the end"
            )
        taken = [i % count for i in wanted]
        if not {*taken} <= {*kept}:
            raise ValueError(f"out_indices {indices} name pruned stages: choose from {kept}")
        return taken
