"""The kernels as operators of torch, which take their place while torch compiles or exports.

Apart from `native.py`, for torch's compiler is slow to import and training has no use for it.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from spikeformers.ops.spike_product import native
from spikeformers.ops.spike_product.build import in_block, kernels
from spikeformers.ops.spike_product.native import Packed, Window


def have_kernels() -> bool:
    """Whether there are kernels. torch.compile watches `without_kernels` alone, and need not look for them."""
    return not in_block() and _have_kernels()


@torch.compiler.assume_constant_result
def _have_kernels() -> bool:
    return kernels() is not None


def product(
    x: Tensor,
    tensors: Sequence[Tensor],
    residual: Tensor | None,
    steps: int,
    window: Window,
    packed: Packed,
    neuron: tuple[float, ...],
    counts: bool,
    current: bool,
) -> tuple[Tensor | None, Tensor | None]:
    """`native.product`."""
    if not torch.compiler.is_compiling():
        return native.product(x, tensors, residual, steps, window, packed, neuron, counts, current)
    how = [*window.numbers], [*packed], list(map(float, neuron)), counts, current
    spikes, flow = _product_op(x, list(tensors), residual, steps, *how)
    return spikes if neuron else None, flow if current else None


def fire(x: Tensor, neuron: tuple[float, ...]) -> Tensor:
    """`native.fire`."""
    return _fire_op(x, list(map(float, neuron))) if torch.compiler.is_compiling() else native.fire(x, neuron)


@torch.library.custom_op("spikeformers::spike_product", mutates_args=())
def _product_op(
    x: Tensor,
    tensors: list[Tensor],
    residual: Tensor | None,
    steps: int,
    window: list[int],
    packed: list[int],
    neuron: list[float],
    counts: bool,
    current: bool,
) -> tuple[Tensor, Tensor]:
    how = _window(window), Packed(*packed), tuple(neuron), counts, current
    spikes, flow = (x.new_empty(0) if y is None else y for y in native.product(x, tensors, residual, steps, *how))
    return spikes, flow


@_product_op.register_fake
def _(x, tensors, residual, steps, window, packed, neuron, counts, current):
    shape = (x.shape[0], packed[0], *_window(window).size_after((x.shape[2], x.shape[3])))
    return (
        native.channels_last(shape, torch.uint8) if neuron else x.new_empty(0),
        native.channels_last(shape, torch.float32) if current else x.new_empty(0),
    )


@torch.library.custom_op("spikeformers::spike_neuron", mutates_args=())
def _fire_op(x: Tensor, neuron: list[float]) -> Tensor:
    return native.fire(x.contiguous(), tuple(neuron))


@_fire_op.register_fake
def _(x, neuron):
    return torch.empty(x.shape, dtype=torch.uint8, device=x.device)


def _window(numbers: list[int]) -> Window:
    pairs = iter(numbers)
    return Window(*zip(pairs, pairs, strict=True))
