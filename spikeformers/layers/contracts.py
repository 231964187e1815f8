"""What each kind of part must accept and return: the menu.

Tensors are `[T, B, C, H, W]`. A slot of a model (`neuron=`, `attention=`, ...) takes something to *call* for a part,
with the arguments below: a class, a function, or `functools.partial(SSA, scale=0.25)`. What comes back is a module.
No part keeps state between calls. What else a part is to say of itself is in `DECLARATIONS`, below; a part that takes
`time_steps=` is told them. `spikeformers.layers.check` tries a part out.

| slot        | is called with                              | maps                                       |
|-------------|---------------------------------------------|--------------------------------------------|
| `neuron`    | `v_threshold=`, and `time_steps=` if taken  | current -> spikes, within its `levels`     |
| `attention` | `dim, num_heads, neuron, bias=`             | spikes or counts -> current, same shape    |
| `projection` | `in_dim, dim, bias=`                       | spikes or counts -> current, same size     |
| `mlp`       | `dim, hidden_dim, neuron`                   | spikes or counts -> current, same shape    |
| `position`  | `dim`                                       | spikes or counts -> current, same shape    |
| `shortcut`  | `core, neuron, drop_path=`                  | stream -> stream, same shape               |
| `stem`      | `in_channels, dim, neuron, strides`         | image or frames -> spikes, `H` over strides |
| `downsampling` | `in_dim, dim, neuron, strides`           | stream -> stream, `H` over strides         |
| `conv`      | `in_dim, dim, kernel_size, stride, bias=`   | spikes -> current, `H` over stride         |
| `head`      | `dim, num_classes, neuron`                  | stream -> logits `[T, B, K]`               |
| `order`     | nothing                                     | tokens `[B, N, C]`, `[B, N]` -> tokens     |
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from torch import nn

SPIKES, COUNTS, CURRENT = "spikes", "counts of spikes", "current"  # what a stream may carry


class Declaration(NamedTuple):
    """An attribute by which parts say what they are: its type, what holds without it, who says it, what, who reads it.

    A default of `...` is none: a part of that kind has to say it.
    """

    type: str
    default: Any
    by: str
    says: str
    read_by: str


DECLARATIONS = {
    "levels": Declaration("tuple[float, ...]", ..., "neurons", "the values it emits", "check, firing rates, energy"),
    "causal": Declaration("bool", True, "all", "False where it looks ahead in time", "check, anytime answers"),
    "resets": Declaration("bool", True, "neurons", "whether a spike changes the membrane", "energy"),
    "multiplications": Declaration("int", None, "neurons", "of an update; else 1 where there is a leak", "energy"),
    "emits": Declaration("str", None, "all on the stream", "SPIKES, COUNTS or CURRENT; else what it gets", "check"),
    "takes": Declaration("tuple[str, ...]", (SPIKES, COUNTS, CURRENT), "shortcuts, cores, ...", "what it may get. A "
        "shortcut that does not take CURRENT hands its core the stream as it is", "check"),
    "core": Declaration("nn.Module", None, "shortcuts", "what they stand around: same shape", "check"),
    "attn_neuron": Declaration("nn.Module", None, "attention", "spikes what was attended to, as q_neuron, k_neuron and "
        "v_neuron do the operands", "attention maps, operations"),
    "num_heads": Declaration("int", 1, "attention", "heads", "attention maps"),
    "reruns": Declaration("tuple[str, ...]", (), "all", "neurons run over the past again at each step", "operations"),
    "folded": Declaration("() -> nn.Module", None, "all", "itself for inference, norms and chains in one", "fold"),
    "in_channels": Declaration("int", ..., "stems", "the image's", "the frame"),
    "stride": Declaration("int", 1, "stems, down-samplings", "what an image's size must be a multiple of", "the frame"),
    "num_classes": Declaration("int", ..., "heads", "logits, 0 for features", "the frame"),
    "forward_heads": Declaration("(x) -> tuple", ..., "heads", "logits of each of its heads apart", "losses"),
    "classifiers": Declaration("tuple[str, ...]", None, "heads", "its linear layers, as all below if they are to be "
        "made anew for other classes", "timm, operations"),
    "dim": Declaration("int", 0, "heads", "what its linear layers read: so many numbers", "timm, stages"),
    "pool": Declaration("(x) -> Tensor", None, "heads", "what its linear layers read", "the frame"),
    "reset": Declaration("(num_classes) -> None", None, "heads", "makes its linear layers anew", "the frame"),
}  # fmt: skip


def declared(part: nn.Module, name: str) -> Any:
    """What a part says of itself, or what holds where it says nothing."""
    return getattr(part, name, DECLARATIONS[name].default)


class MakeNeuron(Protocol):
    def __call__(self, *, v_threshold: float = ...) -> nn.Module: ...


class MakeAttention(Protocol):
    def __call__(self, dim: int, num_heads: int, neuron: MakeNeuron, *, bias: bool = ...) -> nn.Module: ...


class MakeProjection(Protocol):
    def __call__(self, in_dim: int, dim: int, *, bias: bool = ...) -> nn.Module: ...


class MakeMLP(Protocol):
    def __call__(self, dim: int, hidden_dim: int, neuron: MakeNeuron) -> nn.Module: ...


class MakePosition(Protocol):
    def __call__(self, dim: int) -> nn.Module: ...


class MakeShortcut(Protocol):
    def __call__(self, core: nn.Module, neuron: MakeNeuron, *, drop_path: float = ...) -> nn.Module: ...


class MakeStem(Protocol):
    def __call__(self, in_channels: int, dim: int, neuron: MakeNeuron, strides: Sequence[int]) -> nn.Module: ...


class MakeDownsampling(Protocol):
    def __call__(self, in_dim: int, dim: int, neuron: MakeNeuron, strides: Sequence[int], /) -> nn.Module: ...


class MakeConv(Protocol):
    def __call__(
        self, in_dim: int, dim: int, kernel_size: int = ..., stride: int = ..., *, bias: bool = ...
    ) -> nn.Module: ...


class MakeHead(Protocol):
    def __call__(self, dim: int, num_classes: int, neuron: MakeNeuron) -> nn.Module: ...
