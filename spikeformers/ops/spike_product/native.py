"""Calls into the compiled kernels. They check nothing: `SpikeProduct`, `fire`, `max_pool` and `attention` do."""

import ctypes
import functools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from spikeformers.ops.spike_product.build import library
from spikeformers.ops.spike_product.neuron import struct

_ROWS_IN_BAND = 16  # of outputs whose inputs are listed together
_MOST_LISTED = 1 << 31  # bytes of input that a band's lists can number


class Shape(ctypes.Structure):
    """`Shape` of kernels.cpp."""

    _names = "T B H W C Ho Wo O kh kw sh sw ph pw dh dw in_row out_row"
    _fields_ = [(name, ctypes.c_int32) for name in _names.split()]


class Window(NamedTuple):
    """How a kernel moves over a map."""

    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)

    def size_after(self, size: tuple[int, int]) -> tuple[int, int]:
        """Height and width of what it makes. Raises ValueError where the kernel is larger than the map."""
        height, width = (
            (n + 2 * pad - d * (k - 1) - 1) // s + 1
            for n, k, s, pad, d in zip(size, self.kernel, self.stride, self.padding, self.dilation, strict=True)
        )
        if height < 1 or width < 1:
            raise ValueError(f"a map of {size[0]} x {size[1]} is smaller than the kernel {list(self.kernel)}")
        return height, width

    @property
    def numbers(self) -> tuple[int, ...]:
        return (*self.kernel, *self.stride, *self.padding, *self.dilation)


class Packed(NamedTuple):
    """Sizes of a packed product: channels made, channels read by a group, groups; vectors in a tile; 0 or 1 each."""

    dim: int
    in_dim: int
    groups: int
    vectors: int
    eight: int
    depthwise: int


@functools.lru_cache(maxsize=4096)
def _geometry(
    shape: tuple[int, ...], steps: int, window: Window, packed: Packed, threads: int
) -> tuple[Shape, tuple[int, ...], int]:
    """What the kernels are told of a product, the shape that it makes, and rows in a band."""
    items, channels, height, width = shape
    out = window.size_after((height, width))
    own, made = (packed.dim, packed.dim) if packed.depthwise else (packed.in_dim, packed.dim // packed.groups)
    band = max(1, min(_ROWS_IN_BAND, out[0] * (items // steps) // threads))  # all threads have one
    band = min(band, out[0])
    while band > 1 and steps * _rows_read(band, window, height) * width * own >= _MOST_LISTED:
        band //= 2
    listed = steps * _rows_read(band, window, height) * width * own
    if max(listed, channels * height * width, packed.dim * out[0] * out[1]) >= _MOST_LISTED:
        raise ValueError(f"a map of {channels} x {height} x {width} in {steps} steps is too large for the kernels")
    sizes = Shape(
        steps, items // steps, height, width, own, *out, made, *window.numbers, channels, packed.dim
    )  # fmt: skip
    return sizes, (items, packed.dim, *out), band


def _rows_read(band: int, window: Window, height: int) -> int:
    return min(height, (band - 1) * window.stride[0] + (window.kernel[0] - 1) * window.dilation[0] + 1)


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
    """Bytes and current of a convolution; `tensors` are weights, scales and biases of each group."""
    threads = torch.get_num_threads()
    sizes, shape, band = _geometry(x.shape, steps, window, packed, threads)
    x = x.contiguous(memory_format=torch.channels_last)
    spikes = channels_last(shape, torch.uint8) if neuron else None
    flow = channels_last(shape, torch.float32) if current else None
    if residual is not None:
        if residual.shape != shape:
            raise ValueError(f"the residual must be of shape {list(shape)}, not {list(residual.shape)}")
        residual = residual.float().contiguous(memory_format=torch.channels_last)
    found, z, size, threads = library(), ctypes.byref(struct(neuron)), ctypes.byref(sizes), torch.get_num_threads()
    if packed.depthwise:
        weight, _, bias = tensors
        found.sf_depthwise(size, z, at(x), at(weight), at(bias), at(residual), at(spikes), at(flow), threads)
        return spikes, flow
    for group in range(packed.groups):
        weight, scale, bias = tensors[3 * group : 3 * group + 3]
        made = group * sizes.O
        found.sf_conv(
            size, z, at(x, group * sizes.C), at(weight), packed.eight, int(counts), packed.vectors,
            at(scale), at(bias), at(residual, made), at(spikes, made), at(flow, made), threads, band,
        )  # fmt: skip
    return spikes, flow


def fire(x: Tensor, neuron: tuple[float, ...]) -> Tensor:
    """Bytes of neurons after any current `[T, ...]`, which lie as `x` does."""
    once = x.shape[0] > 1 and x.stride(0) == 0
    step = x[0]
    order = sorted(range(step.ndim), key=step.stride, reverse=True)
    laid = step.permute(order)
    whole = x.permute(0, *(i + 1 for i in order))
    if not laid.is_contiguous() or not (once or x.stride(0) >= step.numel()):
        order, whole = list(range(step.ndim)), x.contiguous()
    spikes = torch.empty(whole.shape, dtype=torch.uint8, device="cpu")
    library().sf_neuron(
        ctypes.byref(struct(neuron)), at(whole), x.shape[0], step.numel(),
        whole.stride(0), at(spikes), torch.get_num_threads(),
    )  # fmt: skip
    back = [0] * step.ndim
    for place, axis in enumerate(order):
        back[axis] = place + 1
    return spikes.permute(0, *back)


def max_pool(x: Tensor, window: Window, shape: tuple[int, int]) -> Tensor:
    """The largest byte of every window, `[B, C, *shape]`."""
    x = x.contiguous(memory_format=torch.channels_last)
    items, channels, height, width = x.shape
    y = channels_last((items, channels, *shape), torch.uint8)
    sizes = Shape(1, items, height, width, channels, *shape, channels, *window.numbers, channels, channels)
    library().sf_max_pool(ctypes.byref(sizes), at(x), at(y), torch.get_num_threads())
    return y


def attention(q: Tensor, k: Tensor, v: Tensor, scale: float, neuron: tuple[float, ...]) -> Tensor:
    """Bytes or current of `scale q (k^T v)`, `[T, B, M, N, D]`, heads side by side in rows."""
    steps, batch, heads, tokens, dim = q.shape
    kind = torch.uint8 if neuron else torch.float32
    made = torch.empty(steps, batch, tokens, heads, v.shape[4], dtype=kind, device="cpu")
    library().sf_attention(
        steps, batch, tokens, heads, dim, v.shape[4], at(q), at(k), at(v), scale,
        ctypes.byref(struct(neuron)),
        at(made if neuron else None), at(None if neuron else made), torch.get_num_threads(),
    )  # fmt: skip
    return made.transpose(2, 3)


def at(tensor: Tensor | None, offset: int = 0) -> int | None:
    """The address of an element."""
    return None if tensor is None else tensor.data_ptr() + offset * tensor.element_size()


def channels_last(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="cpu", memory_format=torch.channels_last)
