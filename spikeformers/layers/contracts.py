"""What each kind of part must accept and return: the menu.

Tensors are `[T, B, C, H, W]`. A slot of a model (`neuron=`, `attention=`, ...) takes something to *call* for a part,
with the arguments below: a class, a function, or `functools.partial(SSA, scale=0.25)`. What comes back is a module.
No part keeps state between calls, and none looks ahead in time unless it says `causal = False`. A neuron says which
`levels` it emits, a stem of current `emits_spikes = False`, a shortcut whose core gets the stream as it is
`wants_spikes = True`, and a part that takes `time_steps=` is told them. `spikeformers.layers.check` tries a part out.
A stem also has
`in_channels` and `stride`; a head has `num_classes`, and `forward_heads` for the logits of each of its heads apart. To
be given other classes it also has `reset(num_classes)`, `classifiers`, the names of its linear layers, `dim`, their
width, and `pool(x)`, what they read.

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
from typing import Protocol

from torch import nn


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
