"""A convolution of spikes in training: its current and its weight's gradient, at the cost of its ones.

Whether that is less than the dense product's is told by density and shape alone, against thresholds that were measured
once: a run resumed goes the way it went before.
"""

import ctypes

import torch
from torch import Tensor

from spikeformers.ops.spike_product.build import kernels, library
from spikeformers.ops.spike_product.native import Packed, Shape, Window, at, product

DENSEST = 0.3  # share of inputs that are not 0, above which the dense product is the faster
FEWEST = 32  # channels read: with fewer, a list of the ones costs more than the zeros that it saves
DENSEST_GRADIENT = 0.5  # the same of the weight's gradient
_PIXELS = 256  # whose lists and gradients are in a core's cache together
_PLACES = 1 << 16  # 16 bits number those of a block


def as_bytes(x: Tensor) -> tuple[Tensor, float]:
    """`[N, C, H, W]` of whole numbers up to 255 as bytes, channels last, and the share that is not 0."""
    x = x.contiguous(memory_format=torch.channels_last)
    made = torch.empty_like(x, dtype=torch.uint8)
    ones = ctypes.c_int64()
    library().sf_bytes(at(x), x.numel(), at(made), ctypes.byref(ones))
    return made, ones.value / max(1, x.numel())


def refuses(x: Tensor, weight: Tensor, bias: Tensor | None, groups: int) -> bool:
    """Whether there is no kernel for this product."""
    return (
        x.device.type != "cpu"
        or groups != 1
        or x.ndim != 4
        or not x.numel()
        or any(t is not None and t.dtype != torch.float32 for t in (x, weight, bias))
        or torch.is_autocast_enabled("cpu")
        or weight.shape[1] >= 1 << 16
        or kernels() is None
    )


def current(x: Tensor, weight: Tensor, bias: Tensor | None, window: Window, *, counts: bool) -> Tensor:
    """`conv2d` of bytes; `counts` says that some are above 1."""
    dim, in_dim = weight.shape[:2]
    vectors = _vectors(dim, 4)
    width = vectors * _lanes()
    tiles = -(-dim // width)
    packed = _room(tiles, *window.kernel, in_dim, width)
    _rows(packed.permute(0, 4, 3, 1, 2), weight)
    biases = weight.new_zeros(tiles * width + 64)
    if bias is not None:
        biases[:dim] = bias
    steps = next(n for n in (4, 2, 1) if len(x) % n == 0)  # maps per reading of the weights
    tensors = [packed, torch.ones_like(biases), biases]
    made = product(x, tensors, None, steps, window, Packed(dim, in_dim, 1, vectors, 0, 0), (), counts, True)[1]
    assert made is not None
    return made


def can_differentiate(shape: torch.Size, window: Window) -> bool:
    """Whether there is a kernel for the weight's gradient, `shape` the input's."""
    (kh, kw), dilation = window.kernel, window.dilation
    padded = shape[3] + (kw - 1) * dilation[1]
    rows = min(shape[2], max(1, _PIXELS // shape[3])) + (kh - 1) * dilation[0]
    images = max(1, _PIXELS // (shape[2] * shape[3]))
    return window.stride == (1, 1) and images * rows * padded <= _PLACES


def weight_gradient(x: Tensor, grad: Tensor, weight: Tensor, window: Window, *, counts: bool) -> Tensor:
    """The gradient of `weight`, from bytes and the gradient of their product, which is fp32."""
    grad = grad.contiguous(memory_format=torch.channels_last)
    dim, in_dim, kh, kw = weight.shape
    vectors = _vectors(dim, 8 if kw < 3 else 2)
    width = vectors * _lanes()
    tiles = -(-dim // width)
    sums = _room(tiles, in_dim, kh, kw, width)
    sizes = Shape(1, len(x), *x.shape[2:], in_dim, *grad.shape[2:], dim, *window.numbers, in_dim, dim)
    library().sf_weight_grad(
        ctypes.byref(sizes), at(x), at(grad), at(sums), int(counts), vectors, _PIXELS, torch.get_num_threads()
    )
    made = torch.empty_like(weight)
    whole = dim // width
    if whole:
        made[: whole * width].unflatten(0, (whole, width)).copy_(sums[:whole].permute(0, 4, 1, 2, 3))
    if whole < tiles:
        made[whole * width :] = sums[whole].permute(3, 0, 1, 2)[: dim - whole * width]
    return made


def _rows(tiles: Tensor, weight: Tensor) -> None:
    """Writes a weight `[C, ...]` into tiles `[tiles, outputs, ...]`, and 0 into what is beyond it."""
    whole, rest = divmod(len(weight), tiles.shape[1])
    if whole:
        tiles[:whole].copy_(weight[: whole * tiles.shape[1]].unflatten(0, (whole, -1)))
    if rest:
        tiles[whole].zero_()[:rest] = weight[whole * tiles.shape[1] :]


def _lanes() -> int:
    return library().sf_lanes()


def _vectors(dim: int, most: int) -> int:
    """Vectors in a tile: as many as `most`, fewer where they would be filled up with nothing."""
    lanes = _lanes()
    while most > 1 and -(-dim // (most * lanes)) * most * lanes - dim >= most * lanes // 2:
        most //= 2
    return most


def _room(*shape: int) -> Tensor:
    """Memory that begins on a cache line."""
    room = torch.empty(torch.Size(shape).numel() + 16, device="cpu")
    first = -room.data_ptr() % 64 // 4
    return room[first : -16 + first or None].view(shape)
