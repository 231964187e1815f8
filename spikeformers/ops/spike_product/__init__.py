"""Products of spikes with weights that cost what their ones cost, each with its neuron behind it, on a CPU.

Spikes and counts are bytes. A map `[T B, C, H, W]` lies with its channels last, so that a pixel's channels are one row.
Where the kernels cannot be had, torch computes the same: `kernels()` is None.
"""

import ctypes
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from spikeformers.ops.spike_product import reference
from spikeformers.ops.spike_product.build import kernels
from spikeformers.ops.spike_product.neuron import NONE, Neuron

__all__ = ["NONE", "Neuron", "SpikeProduct", "attention", "fire", "kernels", "max_pool", "reference"]

_LANES = {torch.float32: 64, torch.int8: 128}  # outputs in a tile
_ROWS_IN_BAND = 16


class _Shape(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int32) for name in "T B H W C Ho Wo O kh kw sh sw ph pw dh dw in_row out_row".split()]


@dataclass(frozen=True, eq=False)
class SpikeProduct:
    """A convolution of bytes, weights packed for the kernels: `[T B, C_in, H, W] -> bytes or current [T B, C, H', W']`.

    `weight` `[C, C_in, kh, kw]` is fp32; with `dtype` int8 it is rounded to 127 levels of either sign, one scale an
    output channel, and sums are exact. `unit` is what a byte of the input is worth.
    """

    weight: Tensor
    bias: Tensor | None = None
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    dtype: torch.dtype = torch.float32
    unit: float = 1.0

    @property
    def depthwise(self) -> bool:
        return self.groups == len(self.weight) == self.groups * self.weight.shape[1]

    @property
    def sparse(self) -> bool:
        """Whether there is a kernel for it; 16-bit numbers name the channels."""
        return kernels() is not None and self.weight.shape[1] < 1 << 16

    @cached_property
    def _packed(self) -> list[tuple[Tensor, Tensor, Tensor, int]]:
        """Of each group: weights in tiles, scales and biases padded to tiles, vectors in a tile."""
        if self.depthwise or self.groups == 1:
            return [self._pack(self.weight, self.bias)]
        biases = [None] * self.groups if self.bias is None else self.bias.chunk(self.groups)
        return [self._pack(*group) for group in zip(self.weight.chunk(self.groups), biases, strict=True)]

    def _pack(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor, int]:
        lanes = kernels().sf_lanes()  # pyright: ignore[reportOptionalMemberAccess]
        weight = weight.detach().float() * self.unit
        dim, in_dim, kh, kw = weight.shape
        if self.depthwise:
            width = -(-dim // lanes) * lanes
            packed = _aligned(weight.new_zeros(kh, kw, width))
            packed[..., :dim] = weight[:, 0].permute(1, 2, 0)
            return packed, _padded(None, dim, width, 1.0), _padded(bias, dim, width, 0.0), 1
        tile = _LANES[self.dtype]
        tiles = -(-dim // tile)
        scale = None
        if self.dtype == torch.int8:
            scale = weight.flatten(1).abs().amax(1).clamp(min=torch.finfo(torch.float32).tiny) / 127
            weight = (weight / scale.view(-1, 1, 1, 1)).round().clamp(-127, 127)
        full = weight.new_zeros(tiles * tile, in_dim, kh, kw)
        full[:dim] = weight
        if self.dtype == torch.int8:  # plus 128; the lower bytes of a vector's 16-bit lanes are its first half
            group = 4 * lanes
            full = (full + 128).to(torch.uint8).view(tiles, tile // group, 2, group // 2, in_dim, kh, kw)
            full = full.permute(0, 5, 6, 4, 1, 3, 2)
        else:
            full = full.view(tiles, tile, in_dim, kh, kw).permute(0, 3, 4, 2, 1)
        width = tiles * tile
        return (
            _aligned(full.contiguous()),
            _padded(scale, dim, width, 1.0),
            _padded(bias, dim, width, 0.0),
            tile // lanes,
        )

    @cached_property
    def effective(self) -> Tensor:
        """The weight that the product computes with: `weight`, or what int8 made of it."""
        if self.dtype != torch.int8 or self.depthwise:
            return self.weight.detach().float()
        weight = self.weight.detach().float()
        scale = weight.flatten(1).abs().amax(1).clamp(min=torch.finfo(torch.float32).tiny).view(-1, 1, 1, 1) / 127
        return (weight / scale).round().clamp(-127, 127) * scale

    def __call__(
        self,
        x: Tensor,
        time_steps: int,
        neuron: Neuron | None = None,
        residual: Tensor | None = None,
        *,
        counts: bool = False,
        current: bool = False,
    ) -> tuple[Tensor | None, Tensor | None]:
        """Bytes of the neuron, if one is given, and the current, if there is none or it is asked for.

        `x` is `[T B, C_in, H, W]` of uint8, `counts` says that some are above 1; `residual` is added to the current
        ahead of the neuron. Raises ValueError for another dtype or shape.
        """
        dim, in_dim, kh, kw = self.weight.shape
        if x.dtype != torch.uint8 or x.ndim != 4 or x.shape[1] != in_dim * self.groups or x.shape[0] % time_steps:
            raise ValueError(
                f"{x.dtype} {list(x.shape)} in {time_steps} steps is not [T B, {in_dim * self.groups}, H, W] of uint8"
            )
        if not self.sparse:
            spikes, flow = reference.conv(
                x,
                self.effective * self.unit,
                self.bias,
                self.stride,
                self.padding,
                self.dilation,
                self.groups,
                time_steps,
                neuron,
                residual,
            )
            return spikes, flow if neuron is None or current else None
        x = x.contiguous(memory_format=torch.channels_last)
        items, _, height, width = x.shape
        out_height, out_width = (
            (size + 2 * pad - d * (k - 1) - 1) // s + 1
            for size, pad, d, k, s in zip(
                (height, width), self.padding, self.dilation, (kh, kw), self.stride, strict=True
            )
        )
        if out_height < 1 or out_width < 1:
            raise ValueError(f"a map of {height} x {width} is smaller than the kernel {kh} x {kw}")
        shape = (items, dim, out_height, out_width)
        spikes = _channels_last(shape, torch.uint8) if neuron else None
        flow = _channels_last(shape, torch.float32) if current or not neuron else None
        if residual is not None:
            if residual.shape != shape:
                raise ValueError(f"a residual of {list(residual.shape)} came where {list(shape)} belongs")
            residual = residual.float().contiguous(memory_format=torch.channels_last)
        z = ctypes.byref((neuron or NONE).struct())
        library, threads = kernels(), torch.get_num_threads()
        steps = (time_steps, items // time_steps, height, width)
        window = (kh, kw, *self.stride, *self.padding, *self.dilation)
        if self.depthwise:
            weight, _, bias, _ = self._packed[0]
            sizes = _Shape(*steps, dim, out_height, out_width, dim, *window, dim, dim)
            library.sf_depthwise(  # pyright: ignore[reportOptionalMemberAccess]
                ctypes.byref(sizes), z, _at(x), _at(weight), _at(bias), _at(residual), _at(spikes), _at(flow), threads
            )
            return spikes, flow
        own, made = in_dim, dim // self.groups  # channels of a group
        for group, (weight, scale, bias, vectors) in enumerate(self._packed):
            sizes = _Shape(*steps, own, out_height, out_width, made, *window, x.shape[1], dim)
            library.sf_conv(  # pyright: ignore[reportOptionalMemberAccess]
                ctypes.byref(sizes), z, _at(x, group * own), _at(weight), int(self.dtype == torch.int8), int(counts),
                vectors, _at(scale), _at(bias), _at(residual, group * made), _at(spikes, group * made),
                _at(flow, group * made), threads, _ROWS_IN_BAND,
            )  # fmt: skip
        return spikes, flow


def fire(x: Tensor, neuron: Neuron) -> Tensor:
    """Neurons behind any current: `[T, ...] -> [T, ...]` bytes, which lie as `x` does."""
    library = kernels()
    if library is None or x.dtype != torch.float32 or not x.numel():
        return reference.neuron(x.float(), neuron)
    once = x.shape[0] > 1 and x.stride(0) == 0
    step = x[0]
    order = sorted(range(step.ndim), key=step.stride, reverse=True)
    laid = step.permute(order)
    whole = x.permute(0, *(i + 1 for i in order))
    if not laid.is_contiguous() or not (once or x.stride(0) >= step.numel()):
        order, whole = list(range(step.ndim)), x.contiguous()
    spikes = torch.empty(whole.shape, dtype=torch.uint8)
    library.sf_neuron(
        ctypes.byref(neuron.struct()), _at(whole), ctypes.c_int64(x.shape[0]), ctypes.c_int64(step.numel()),
        ctypes.c_int64(whole.stride(0)), _at(spikes), torch.get_num_threads(),
    )  # fmt: skip
    back = [0] * step.ndim
    for place, axis in enumerate(order):
        back[axis] = place + 1
    return spikes.permute(0, *back)


def max_pool(x: Tensor, kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int],
             dilation: tuple[int, int], shape: tuple[int, int]) -> Tensor:  # fmt: skip
    """The largest byte of every window: `[B, C, H, W] -> [B, C, *shape]`, channels last."""
    library = kernels()
    if library is None:
        pooled = torch.nn.functional.max_pool2d(x.float(), kernel, stride, padding, dilation)
        return pooled.to(torch.uint8)
    x = x.contiguous(memory_format=torch.channels_last)
    items, channels, height, width = x.shape
    y = _channels_last((items, channels, *shape), torch.uint8)
    window = (*kernel, *stride, *padding, *dilation)
    sizes = _Shape(1, items, height, width, channels, *shape, channels, *window, channels, channels)
    library.sf_max_pool(ctypes.byref(sizes), _at(x), _at(y), torch.get_num_threads())
    return y


def attention(
    q: Tensor, k: Tensor, v: Tensor, scale: float, neuron: Neuron | None = None, *, top: int = 1
) -> Tensor | None:
    """`scale q (k^T v)` of bytes `[T, B, M, N, D]` up to `top`, then the neuron if there is one: bytes or current.

    None where the kernels do not take it: heads that are not side by side in rows, or sums beyond 16 bits.
    """
    library = kernels()
    steps, batch, heads, tokens, dim = q.shape
    strides = (batch * tokens * heads * dim, tokens * heads * dim, dim, heads * dim, 1)
    if library is None or tokens * dim * top**3 >= 1 << 16 or any(
        x.shape != q.shape or x.stride() != strides for x in (q, k, v)
    ):
        return None
    made = torch.empty(steps, batch, tokens, heads, dim, dtype=torch.uint8 if neuron else torch.float32)
    library.sf_attention(
        steps, batch, tokens, heads, dim, _at(q), _at(k), _at(v), ctypes.c_float(scale),
        ctypes.byref((neuron or NONE).struct()), _at(made if neuron else None), _at(None if neuron else made),
        torch.get_num_threads(),
    )  # fmt: skip
    return made.transpose(2, 3)


def _at(tensor: Tensor | None, offset: int = 0) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr() + offset * tensor.element_size())


def _channels_last(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return torch.empty(shape, dtype=dtype, memory_format=torch.channels_last)


def _aligned(x: Tensor) -> Tensor:
    """A copy that begins on a cache line, where vectors are loaded whole."""
    room = torch.empty(x.numel() + 64, dtype=x.dtype)
    first = -room.data_ptr() % 64 // x.element_size()
    return room[first : first + x.numel()].view(x.shape).copy_(x)


def _padded(x: Tensor | None, dim: int, width: int, fill: float) -> Tensor:
    padded = torch.full((width + 64,), fill)
    if x is not None:
        padded[:dim] = x.detach().float()
    return padded
