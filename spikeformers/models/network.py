"""The frame of every family: stem, blocks on a stream of feature maps, and a head with logits at every step."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from spikeformers.layers.chain import run_plain
from spikeformers.layers.contracts import declared
from spikeformers.models.stages import Stage
from spikeformers.ops.arguments import check_whole
from spikeformers.ops.layout import keep_layout
from spikeformers.ops.tracing import runs_eagerly


class SpikingTransformer(nn.Module):
    """A spiking transformer: images `[B, C, H, W]` or sequences `[T, B, C, H, W]` -> logits `[B, K]`.

    An image is repeated for `time_steps` steps; a sequence has its own T. There is no state between calls.

    Args:
        stem: From images to the stream.
        blocks: The trunk.
        head: From the stream to logits at each step.
        position: Position code between stem and trunk; None for none.
        time_steps: How many steps an image is shown for.
        image_size: Side of the images that the model is made for, or height and width; others work too if the strides
            divide them.
        stages: Where the trunk shrinks the map; without any, each block is a stage.

    Attributes:
        task: What it is for: "classification".
        config: Arguments for `create_model` that rebuild the model.
        run: How stem, position part and blocks are called; `recompute_blocks` replaces it.

    Raises:
        ValueError: On a call, for an input of another rank, number of channels or dtype, without steps or pixels, or of
            a size that the strides do not divide.
        TypeError: On a call, for an input that is not a Tensor.
    """

    task = "classification"
    stem: Any  # see the contracts in `layers/contracts.py`
    head: Any

    def __init__(
        self,
        *,
        stem: nn.Module,
        blocks: Iterable[nn.Module],
        head: nn.Module,
        position: nn.Module | None = None,
        time_steps: int,
        image_size: int | tuple[int, int],
        stages: Sequence[Stage] = (),
    ):
        super().__init__()
        self.config: dict[str, Any] = {}
        for side in image_size if isinstance(image_size, tuple) else (image_size,):
            check_whole(image_size=side)
        self.stem = stem
        self.position = position or nn.Identity()
        self.blocks = nn.Sequential(*blocks)
        self.head = head
        self.time_steps = time_steps
        self.image_size: Any = image_size  # of a classifier: the side
        self._stages = tuple({stage.reduction: stage for stage in stages}.values())  # the last at each size
        self.run: Callable[[nn.Module, Tensor], Tensor] = run_plain

    @property
    def time_steps(self) -> int:
        """How many steps an image is shown for; it can be set to another number."""
        return self._time_steps

    @time_steps.setter
    def time_steps(self, steps: int) -> None:
        check_whole(why="give 1 or more steps", time_steps=steps)
        self._time_steps = steps
        if "time_steps" in self.config:
            self.config["time_steps"] = steps

    @property
    def in_channels(self) -> int:
        return self.stem.in_channels

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the images that the model is made for."""
        height, width = self.image_size if isinstance(self.image_size, tuple) else (self.image_size, self.image_size)
        return self.in_channels, height, width

    @property
    def num_classes(self) -> int:
        return self.head.num_classes

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The ends of the stages: where the map shrinks, not where the width changes."""
        flat = (Stage(block, declared(self.head, "dim"), self.stem.stride) for block in range(len(self.blocks)))
        return self._stages or tuple(flat)

    def forward(self, x: Tensor) -> Tensor:
        """Logits, averaged over time: `[B, C, H, W]` or `[T, B, C, H, W] -> [B, K]`."""
        return self.forward_head(self.forward_features(x))

    def forward_outputs(self, x: Tensor) -> dict[str, Tensor]:
        """What the network computes, before a detector chooses boxes from it: of a classifier, `logits`."""
        return {"logits": self(x)}

    def forward_steps(self, x: Tensor) -> Tensor:
        """Logits at every step: `[B, C, H, W]` or `[T, B, C, H, W] -> [T, B, K]`."""
        return self.head(self.forward_features(x))

    def forward_heads(self, x: Tensor) -> tuple[Tensor, ...]:
        """Logits of each classifier at every step, for losses: a tuple of `[T, B, K]`."""
        return self.head.forward_heads(self.forward_features(x))

    def forward_features(self, x: Tensor) -> Tensor:
        """The stream after the last block: `[B, C, H, W]` or `[T, B, C, H, W] -> [T, B, D, H / s, W / s]`."""
        x = self.forward_stem(x)
        for block in self.blocks[:-1]:
            x = self.run(block, x)
        return keep_layout(self.blocks[-1:](x))  # its backward runs first, so recomputation would save nothing

    def forward_stem(self, x: Tensor) -> Tensor:
        """The stream before the first block: `[B, C, H, W]` or `[T, B, C, H, W] -> [T, B, D, H / s, W / s]`."""
        return self.run(self.position, self.run(self.stem, self._sequence(x)))

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Logits of the output of `forward_features`, averaged over time: `[T, B, D, H, W] -> [B, K]`.

        With `pre_logits`, the input of the last linear layer: `[T, B, D, H, W] -> [B, D]`.
        """
        return (self.head.pool(x) if pre_logits else self.head(x)).mean(0)

    def reset_classifier(self, num_classes: int) -> None:
        """Replaces the head by a new one, on the same device.

        Args:
            num_classes: Number of classes; with 0 the model returns features `[B, D]`.

        Raises:
            ValueError: `num_classes` is below 0.
        """
        last = list(self.parameters())[-1]  # of the head, or, if it has none, of the last block
        self.head.reset(num_classes)
        self.head.to(last.device, last.dtype)
        if "num_classes" in self.config:
            self.config = {**self.config, "num_classes": num_classes}

    def __prepare_scriptable__(self) -> None:  # called first by torch.jit.script
        raise TypeError(
            "torch.jit.script does not support this model: use torch.jit.trace(model, x) or torch.export.export"
        )

    def _forward_ends(self, x: Tensor, stages: Sequence[Stage]) -> list[Tensor]:
        """The stream at the end of each of the stages, `[T, B, C, H, W]`; blocks after the last do not run."""
        wanted = [stage.last_block for stage in stages]
        x = self.forward_stem(x)
        ends = {-1: x} if -1 in wanted else {}
        for number, block in enumerate(self.blocks[: max(wanted) + 1]):
            x = self.run(block, x)
            if number in wanted:
                ends[number] = x
        return [ends[number] for number in wanted]

    def _sequence(self, x: Tensor) -> Tensor:
        if not isinstance(x, Tensor):
            raise TypeError(
                f"the model takes a Tensor and got a {type(x).__name__}: use torch.as_tensor; for a graph of the "
                "model, torch.export.export or torch.jit.trace"
            )
        if x.ndim not in (4, 5):
            raise ValueError(
                f"an input of shape {list(x.shape)} is neither images [B, C, H, W] nor sequences [T, B, C, H, W]: "
                "add the batch axis, x[None] for one image, x[:, None] for one sequence"
            )
        if x.shape[-3] != self.in_channels:
            raise ValueError(
                f"an input of shape {list(x.shape)} has {x.shape[-3]} channels, the model takes {self.in_channels}: "
                f"convert it, or build the model with in_channels={x.shape[-3]}"
            )
        if 0 in (x.shape[0] if x.ndim == 5 else 1, *x.shape[-2:]):
            raise ValueError(f"an input of shape {list(x.shape)} has no steps or no pixels: give at least one of each")
        stride = 1
        for part in (self.stem, *self.blocks):  # a loop: torch.compile does not support a generator here
            stride *= declared(part, "stride")
        _check_input(self.stem, stride, x)
        if x.ndim == 4:
            return x.expand(self.time_steps, *x.shape)  # T B C H W
        if x.stride(0) == 0 and not runs_eagerly(x):  # later inputs of the graph may differ by step
            return x.clone(memory_format=torch.contiguous_format)
        return x


def _check_input(stem: nn.Module, stride: int, x: Tensor) -> None:
    """Raises ValueError if the stride does not divide the size of `[..., H, W]`, or for another dtype."""
    weights = next((p.dtype for p in stem.parameters() if p.is_floating_point()), x.dtype)
    if x.dtype != weights and not (_autocast_takes(x.dtype, x) and _autocast_takes(weights, x)):
        scaled = "" if x.is_floating_point() else ", scaled like the training images (pictures by 1 / 255)"
        raise ValueError(f"an input of {x.dtype} does not match weights of {weights}: use x.to({weights}){scaled}")
    height, width = x.shape[-2:]
    if height % stride or width % stride:
        raise ValueError(
            f"an image of {height} x {width} is not a multiple of the stem's stride {stride}: "
            f"resize it to {height + -height % stride} x {width + -width % stride}"
        )


def _autocast_takes(dtype: torch.dtype, x: Tensor) -> bool:
    lower = dtype in (torch.float32, torch.bfloat16, torch.float16)
    return lower and not x.is_meta and torch.is_autocast_enabled(x.device.type)  # meta has no autocast
