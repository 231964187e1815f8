"""The contracts: what each kind of part accepts and returns.

Tensors are `[T, B, C, H, W]`. A slot of a model (`neuron=`, `attention=`, ...) takes a *callable* that makes the part
from the arguments below: a class, a function, or `functools.partial(SSA, scale=0.25)`. It returns a module without
state between calls. `DECLARATIONS`, below, lists the attributes by which parts describe themselves. A part that takes
`time_steps=` gets the model's. An activation of torch, such as `torch.nn:ReLU`, can stand in for a neuron; it is called
without arguments. `spikeformers.layers.check` checks a part.

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
| `neck`      | `dims, strides, pyramid, dim, neuron, conv` | a stream per stage -> current per level    |
| `order`     | nothing                                     | tokens `[B, N, C]`, `[B, N]` -> tokens     |
| `quantizer` | `weight`, `[C, ...]`                        | a layer's weights -> weights to multiply by |
| `pruning`   | `block, number, count`                      | stream -> stream, with the block's keys    |
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from torch import Tensor, nn

SPIKES, COUNTS, CURRENT = "spikes", "counts of spikes", "current"  # kinds of stream


class Declaration(NamedTuple):
    """An attribute by which parts describe themselves: type, default, who declares it, meaning, who reads it.

    A default of `...` means that parts of that kind must declare it.
    """

    type: str
    default: Any
    by: str
    meaning: str
    read_by: str


DECLARATIONS = {
    "levels": Declaration("tuple[float, ...]", ..., "neurons", "the values it emits", "check, firing rates, energy"),
    "causal": Declaration("bool", True, "all", "False where it looks ahead in time", "check, anytime answers"),
    "resets": Declaration("bool", True, "neurons", "whether a spike changes the membrane", "energy"),
    "multiplications": Declaration("int", None, "neurons", "per update; default 1 with a leak, else 0", "energy"),
    "emits": Declaration("str", None, "all on the stream", "SPIKES, COUNTS or CURRENT; default: as its input", "check"),
    "takes": Declaration("tuple[str, ...]", (SPIKES, COUNTS, CURRENT), "shortcuts, cores, ...", "kinds of input. A "
        "shortcut that does not take CURRENT passes the stream to its core unchanged", "check"),
    "core": Declaration("nn.Module", None, "shortcuts", "the branch, of the same shape", "check"),
    "in_block": Declaration("(behind) -> nn.Module", None, "cores", "the part as it stands in a block, if that is "
        "not `behind(part)`; `behind` puts the block's shortcut around a part", "blocks"),
    "quantizer": Declaration("nn.Module", None, "convolutions, linear layers", "what rounds the weights",
        "fold, energy"),
    "bits": Declaration("int", None, "quantizers", "bits of a weight", "energy"),
    "attn_neuron": Declaration("nn.Module", None, "attention", "the neuron after the products; q_neuron, k_neuron and "
        "v_neuron are those of the operands", "attention maps, operations"),
    "num_heads": Declaration("int", 1, "attention", "heads", "attention maps"),
    "synchronised": Declaration("bool", False, "parts with statistics of a batch", "whether they span all processes, "
        "by `spans_processes` and `mean_across`; `sync_norm` sets it", "sync_norm"),
    "places": Declaration("bool", False, "attention", "whether it reads the places of tokens or the sides of their map",
        "pruning"),
    "remembers": Declaration("tuple[str, ...]", (), "all", "names of what it keeps from step to step, batch first; "
        "none where steps are independent", "check, streaming, energy"),
    "initial": Declaration("(x) -> tuple", None, "parts with `step`", "what it keeps before the first step, "
        "for one step's input `[B, ...]`", "check, streaming"),
    "step": Declaration("(x, *state) -> (y, *state)", None, "neurons, parts with state", "one pure step on "
        "`[B, ...]`; looping over it gives the same result as the method `mixes`", "check, streaming, TIM"),
    "mixes": Declaration("str", "forward", "parts with state", "the method that mixes steps, which `step` replaces: "
        "same arguments", "streaming"),
    "drives": Declaration("tuple[str, ...]", (), "parts with state", "children that its `step` runs, with their "
        "state in its own", "streaming"),
    "folded": Declaration("() -> nn.Module", None, "all", "the part for inference, with norms and chains folded",
        "fold"),
    "in_channels": Declaration("int", ..., "stems", "channels of the image", "the frame"),
    "stride": Declaration("int", 1, "stems, down-samplings", "divisor of the image's size", "the frame"),
    "num_classes": Declaration("int", ..., "heads", "number of logits, 0 for features", "the frame"),
    "forward_heads": Declaration("(x) -> tuple", ..., "heads", "logits of each classifier", "losses"),
    "classifiers": Declaration("tuple[str, ...]", None, "heads", "names of its linear layers; like `dim`, `pool` and "
        "`reset`, needed to replace them for other classes", "timm, operations"),
    "chooses": Declaration("bool", False, "heads of detectors", "whether its own operations, such as the "
        "suppression of overlapping boxes, are not part of the network", "operations"),
    "on_regions": Declaration("bool", False, "heads of detectors", "whether its second axis counts regions of all "
        "images", "operations"),
    "learns_from": Declaration("tuple[str, ...]", (), "heads of detectors", "keys of each image's target", "the frame"),
    "dim": Declaration("int", 0, "heads", "width of the linear layers' input", "timm, stages"),
    "pool": Declaration("(x) -> Tensor", None, "heads", "the linear layers' input", "the frame"),
    "reset": Declaration("(num_classes) -> None", None, "heads", "replaces its linear layers", "the frame"),
}  # fmt: skip


def declared(part: nn.Module, name: str) -> Any:
    """The value that a part declares, or the default."""
    return getattr(part, name, DECLARATIONS[name].default)


def step_of(part: nn.Module) -> Callable[..., Any] | None:
    """A part's `step`; None if it has none, or overrides the method that `step` replaces but not `step`."""
    classes = type(part).__mro__
    step, mixes = (
        next((i for i, cls in enumerate(classes) if name in vars(cls)), len(classes))
        for name in ("step", declared(part, "mixes"))
    )
    return declared(part, "step") if step <= mixes else None


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


class MakeNeck(Protocol):
    def __call__(
        self,
        dims: Sequence[int],
        strides: Sequence[int],
        pyramid: Sequence[int],
        dim: int,
        neuron: MakeNeuron,
        conv: MakeConv,
        /,
    ) -> nn.Module: ...


class MakeHead(Protocol):
    def __call__(self, dim: int, num_classes: int, neuron: MakeNeuron) -> nn.Module: ...


class MakeQuantizer(Protocol):
    def __call__(self, weight: Tensor, /) -> nn.Module: ...


class MakePruning(Protocol):
    def __call__(self, block: nn.Sequential, number: int, count: int, /) -> nn.Module: ...
