"""A convolution of spikes or counts with weights, packed once for the kernels."""

import torch
from torch import Tensor

from spikeformers.ops.spike_product import native, operators, reference
from spikeformers.ops.spike_product.build import library
from spikeformers.ops.spike_product.native import Packed, Window
from spikeformers.ops.spike_product.neuron import Neuron
from spikeformers.ops.spike_product.operators import have_kernels

_VECTORS = {torch.float32: (1, 2, 4, 8), torch.int8: (4, 8, 16)}  # in a tile, for which there are kernels
_OUTPUTS = {torch.float32: 64, torch.int8: 128}  # in a tile at most: their sums stay in registers
_LEVELS = 127


class SpikeProduct:
    """A convolution of bytes, `[T B, C_in, H, W] -> [T B, C, H', W']`, that costs what its ones cost.

    `weight` `[C, C_in / groups, kh, kw]` is fp32. With `dtype` int8 it is rounded to 127 levels of either sign, one
    scale an output channel, and the sums are exact; a depthwise convolution stays fp32. `unit` is what a byte of the
    input is worth. Raises ValueError for other shapes and dtypes.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: tuple[int, int] = (1, 1),
        padding: tuple[int, int] = (0, 0),
        dilation: tuple[int, int] = (1, 1),
        groups: int = 1,
        dtype: torch.dtype = torch.float32,
        unit: float = 1.0,
    ):
        if dtype not in _VECTORS:
            raise ValueError(f"dtype {dtype} is not one of a spike product: give torch.float32 or torch.int8")
        if weight.ndim != 4 or not weight.numel() or groups < 1 or len(weight) % groups:
            raise ValueError(f"a weight of {list(weight.shape)} in {groups} groups is not [C, C_in / groups, kh, kw]")
        if bias is not None and bias.shape != weight.shape[:1]:
            raise ValueError(f"the bias must be of shape {list(weight.shape[:1])}, not {list(bias.shape)}")
        if min(*stride, *dilation) < 1 or min(padding) < 0:
            raise ValueError(f"stride {stride}, padding {padding}, dilation {dilation}: at least 1, 0 and 1")
        self.depthwise = groups == len(weight) and weight.shape[1] == 1
        self.dtype = torch.float32 if self.depthwise else dtype
        self.groups, self.unit = groups, unit
        self.window = Window((weight.shape[2], weight.shape[3]), stride, padding, dilation)
        self.weight, self.scale = _rounded(weight.detach().float(), self.dtype)
        self.bias = None if bias is None else bias.detach().float()
        self.sparse = have_kernels() and weight.shape[1] < 1 << 16  # 16 bits number the channels
        self._packed, self._tensors = self._pack() if self.sparse else (None, ())
        layout = torch.channels_last if max(self.window.kernel) > 1 else torch.contiguous_format
        self._dense = (self.weight * unit).contiguous(memory_format=layout)

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
        """Bytes of the neuron, if one is given; the current, without a neuron or on request.

        `x` is `[T B, C_in, H, W]` of uint8; `counts` says that some are above 1. `residual` is added to the current
        ahead of the neuron. Raises ValueError for another dtype or shape.
        """
        if self._packed is None or not have_kernels():
            return self.dense(x, time_steps, neuron, residual, current=current)
        self._check(x, time_steps)
        wanted = current or neuron is None
        numbers = neuron.numbers if neuron else ()
        return operators.product(
            x, self._tensors, residual, time_steps, self.window, self._packed, numbers, counts, wanted
        )

    def dense(
        self,
        x: Tensor,
        time_steps: int,
        neuron: Neuron | None = None,
        residual: Tensor | None = None,
        *,
        current: bool = False,
    ) -> tuple[Tensor | None, Tensor | None]:
        """The same by torch's own product."""
        self._check(x, time_steps)
        _, stride, padding, dilation = self.window
        if x.shape[2:] == self.window.kernel == (1, 1) and self.groups == 1 and not any(padding):
            flow = torch.nn.functional.linear(x.flatten(1).float(), self._dense[:, :, 0, 0], self.bias)[..., None, None]
        else:
            self.window.size_after((x.shape[2], x.shape[3]))
            flow = torch.conv2d(x.float(), self._dense, self.bias, stride, padding, dilation, self.groups)
        if residual is not None:
            if residual.shape != flow.shape:
                raise ValueError(f"the residual must be of shape {list(flow.shape)}, not {list(residual.shape)}")
            flow = flow.add_(residual)
        if neuron is None:
            return None, flow
        return fire(flow.unflatten(0, (time_steps, -1)), neuron).flatten(0, 1), flow if current else None

    def _check(self, x: Tensor, time_steps: int) -> None:
        channels = self.weight.shape[1] * self.groups
        if x.dtype != torch.uint8 or x.device.type != "cpu" or x.ndim != 4 or x.shape[1] != channels:
            raise ValueError(f"{x.dtype} {list(x.shape)} on {x.device} is not [T B, {channels}, H, W] of uint8 on cpu")
        if time_steps < 1 or x.shape[0] % time_steps:
            raise ValueError(f"{x.shape[0]} maps are not {time_steps} steps of as many each")

    def _pack(self) -> tuple[Packed, list[Tensor]]:
        """Sizes, and of each group the weights in tiles, the scales and the biases."""
        lanes = library().sf_lanes()
        weight, (dim, in_dim) = self.weight / self.scale.view(-1, 1, 1, 1), self.weight.shape[:2]
        scale, bias = self.scale * self.unit, self.bias
        if self.dtype == torch.float32:
            weight, scale = weight * self.unit, self.scale
        if self.depthwise:
            wide = -(-dim // lanes) * lanes
            rows = weight.new_zeros(*self.window.kernel, wide)
            rows[..., :dim] = weight[:, 0].permute(1, 2, 0)
            return Packed(dim, 1, self.groups, 1, 0, 1), [_aligned(rows), _padded(scale, wide), _padded(bias, wide)]
        made = dim // self.groups
        vectors = min(
            (n for n in _VECTORS[self.dtype] if n * lanes <= max(_OUTPUTS[self.dtype], 4 * lanes)),
            key=lambda n: -(-made // (n * lanes)) * (n + 1),
        )
        tensors = []
        for first in range(0, dim, made):
            own = slice(first, first + made)
            rows = _tiles(weight[own], vectors, lanes, self.dtype)
            wide = rows.shape[0] * vectors * lanes
            tensors += [
                _aligned(rows), _padded(scale[own], wide), _padded(None if bias is None else bias[own], wide)
            ]  # fmt: skip
        return Packed(dim, in_dim, self.groups, vectors, int(self.dtype == torch.int8), 0), tensors


def fire(x: Tensor, neuron: Neuron) -> Tensor:
    """Neurons after any current: `[T, ...] -> [T, ...]` bytes, which lie as `x` does."""
    if not have_kernels() or x.dtype != torch.float32 or x.device.type != "cpu" or not x.numel():
        return reference.neuron(x.float(), neuron)
    return operators.fire(x, neuron.numbers)


def max_pool(x: Tensor, window: Window, shape: tuple[int, int] | None = None) -> Tensor:
    """The largest byte of every window: `[B, C, H, W] -> [B, C, H', W']`, channels last.

    `shape` is `H', W'` where it is not the usual one, as with ceil_mode. Raises ValueError for another dtype or shape.
    """
    if x.dtype != torch.uint8 or x.device.type != "cpu" or x.ndim != 4:
        raise ValueError(f"{x.dtype} {list(x.shape)} on {x.device} is not [B, C, H, W] of uint8 on cpu")
    shape = shape or window.size_after((x.shape[2], x.shape[3]))
    if not have_kernels() or torch.compiler.is_compiling():
        usual = shape == window.size_after((x.shape[2], x.shape[3]))
        return torch.nn.functional.max_pool2d(x.float(), *window, ceil_mode=not usual).to(torch.uint8)
    return native.max_pool(x, window, shape)


def attention(q: Tensor, k: Tensor, v: Tensor, scale: float, neuron: Neuron | None = None, *, top: int = 1) -> Tensor:
    """`scale q (k^T v)` of bytes `[T, B, M, N, D]` up to `top`, then the neuron if there is one: bytes or current.

    The heads of v may have another width, which the result has too. Raises ValueError for another dtype or shape.
    """
    if (
        any(x.dtype != torch.uint8 or x.ndim != 5 for x in (q, k, v))
        or q.shape != k.shape
        or v.shape[:4] != q.shape[:4]
    ):
        given = ", ".join(f"{x.dtype} {list(x.shape)}" for x in (q, k, v))
        raise ValueError(f"{given}: not q, k and v of [T, B, M, N, D] each of uint8")
    tokens, dim = q.shape[3:]
    fits = tokens * dim * top**3 < 1 << 16  # the sums are kept in 16 bits
    rows = all(x.transpose(2, 3).is_contiguous() and x.device.type == "cpu" for x in (q, k, v))
    if have_kernels() and fits and rows and not torch.compiler.is_compiling():
        return native.attention(q, k, v, scale, neuron.numbers if neuron else ())
    flow = reference.attention(q, k, v, scale)
    return fire(flow, neuron) if neuron else flow


def _rounded(weight: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The weight that a product computes with, and the scale of each output channel."""
    if dtype == torch.float32:
        return weight, weight.new_ones(len(weight))
    scale = (weight.flatten(1).abs().amax(1) / _LEVELS).clamp(min=torch.finfo(torch.float32).tiny)  # no denormal
    wide = scale.view(-1, 1, 1, 1)
    return (weight / wide).round().clamp(-_LEVELS, _LEVELS) * wide, scale


def _tiles(weight: Tensor, vectors: int, lanes: int, dtype: torch.dtype) -> Tensor:
    """`[C, C_in, kh, kw]` as tiles of vectors of outputs, `[tiles, kh, kw, C_in, ...]`."""
    dim, in_dim, kh, kw = weight.shape
    tile = vectors * lanes
    tiles = -(-dim // tile)
    full = weight.new_zeros(tiles * tile, in_dim, kh, kw)
    full[:dim] = weight
    if dtype == torch.float32:
        return full.view(tiles, tile, in_dim, kh, kw).permute(0, 3, 4, 2, 1)
    group = 4 * lanes  # levels plus 128; the lower bytes of a vector's 16-bit lanes are its first half
    full = (full.round() + 128).to(torch.uint8).view(tiles, tile // group, 2, group // 2, in_dim, kh, kw)
    return full.permute(0, 5, 6, 4, 1, 3, 2)


def _aligned(x: Tensor) -> Tensor:
    """A copy that begins on a cache line, where vectors are loaded whole."""
    room = torch.empty(x.numel() + 64, dtype=x.dtype, device="cpu")
    first = -room.data_ptr() % 64 // x.element_size()
    return room[first : first + x.numel()].view(x.shape).copy_(x)


def _padded(x: Tensor | None, width: int) -> Tensor:
    padded = torch.zeros(width, device="cpu")
    if x is not None:
        padded[: len(x)] = x
    return padded
