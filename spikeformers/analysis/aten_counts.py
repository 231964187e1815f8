"""Counting operations of `torch.ops.aten`, from their arguments and results.

Each function adds to the counts of the current layer, and returns the origin of the result, or None if the operation
only reads its inputs, so that no constant factor passes through it.
"""

from collections.abc import Sequence
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor

from spikeformers.analysis.elementwise_counts import ELEMENTWISE, Count, real_parts
from spikeformers.analysis.fan_out import conv_fan_out, meetings, spread
from spikeformers.analysis.operands import look, total
from spikeformers.analysis.operations import Operations
from spikeformers.analysis.origins import Origin, moved

# ---- products


def count_conv(ops: Operations, y: Tensor, args: Any, kwargs: Any) -> Origin | None:
    x, weight, bias, stride, padding, dilation, transposed, output_padding, groups = args
    channels, axes = conv_fan_out(x.shape, weight.shape, y.shape, stride, padding, dilation, transposed, groups)
    taps = prod(weight.shape[2:])
    macs = x.numel() * channels * taps if transposed else y.numel() * weight.shape[1] * taps
    if not ops.is_weight(weight):  # the filter depends on the input
        rest = (None, stride, padding, dilation, transposed, output_padding, groups)

        def meet(left: Tensor, right: Tensor) -> int:
            return round(float(torch.ops.aten.convolution(left.double(), right.double(), *rest).sum()))

        ops.two_sided("product", look(x, ops.units), look(weight, ops.units), x, weight, macs, meet)
        _count_bias(ops, y, bias)
        return None
    dense = x.shape[0] * x.shape[1] * channels * prod(map(sum, axes))
    biased = 0 if bias is None else y.numel()
    spread_of = partial(spread, channels=channels, axes=axes)
    ops.with_weights("convolution", ops.look(x), macs, dense, spread_of, len(x), weight.numel(), biased)
    _count_bias(ops, y, bias)
    return _through_weights(ops, x, y, bias is not None)


def count_chain(ops: Operations, x: Tensor, channels: int, kernel: int, in_channels: int) -> None:
    flat = x.reshape(-1, *x.shape[-3:])
    shape = (channels, in_channels, kernel, kernel)
    pad = kernel // 2
    reach, axes = conv_fan_out(flat.shape, shape, flat.shape, (1,), (pad,), (1,), False, 1)
    outputs = flat.numel() // in_channels * channels
    macs = outputs * in_channels * kernel**2
    dense = len(flat) * in_channels * reach * prod(map(sum, axes))
    weights = channels * in_channels * kernel**2
    ops.with_weights("convolution", ops.look(flat), macs, dense, lambda a: spread(a, reach, axes), len(flat), weights)
    ops.add("bias", outputs)


def count_matmul(ops: Operations, y: Tensor, args: Any, kwargs: Any, biased: int = 0) -> Origin | None:
    left, right = args[:2]
    parts = real_parts(left, right)
    if ops.is_weight(left) or ops.is_weight(right):
        x, width = (right, left.shape[-2]) if ops.is_weight(left) else (left, right.shape[-1])
        width *= parts
        rows = ops.rows_of(x, x.numel() // x.shape[-2 if x is right else -1])
        macs = x.numel() * width
        weights = (left if ops.is_weight(left) else right).numel()
        ops.with_weights("linear", ops.look(x), macs, macs, lambda a: total(a) * width, rows, weights, biased)
        return _through_weights(ops, x, y)
    a, b = look(left, ops.units), look(right, ops.units)
    macs = parts * left.numel() * right.shape[-1]
    ops.two_sided("product", a, b, left, right, macs, lambda a, b: parts * meetings(a, b))
    return None


def count_mv(ops: Operations, y: Tensor, args: Any, kwargs: Any) -> Origin | None:
    """A product of a matrix or a vector with a vector."""
    left, right = args[:2]
    return count_matmul(ops, y, (left if left.ndim > 1 else left[None], right[:, None]), {})


def count_addmm(ops: Operations, y: Tensor, args: Any, kwargs: Any) -> Origin | None:
    bias, left, right = args[:3]
    made = count_matmul(ops, y, (left, right), {}, y.numel())
    _count_bias(ops, y, bias)
    if made is not None:
        made.biased = True
    return made


def _through_weights(ops: Operations, x: Tensor, y: Tensor, biased: bool = False) -> Origin:
    if (origin := ops.origins.of(x)) is not None:
        origin.absorbs()
    return ops.made(str(ops.last_product), y.numel(), biased)


# ---- sums


def count_sum(ops: Operations, y: Tensor, args: Any, kwargs: Any, op: str = "sum", of: int = 0) -> Origin | None:
    x = args[of]
    if ops.is_weight(x):
        return None
    layer = ops.add(op, x.numel(), look(x, ops.units))
    layer.sides = (ops.source(x), "")
    return moved(ops.origins.of(x), None if of == 0 else ops.origins.of(args[0]), elements=y.numel())


def count_put(ops: Operations, y: Tensor, args: Any, kwargs: Any) -> Origin | None:
    """Numbers written over others, or added to them."""
    if len(args) > 3 and args[3]:
        return count_sum(ops, y, args, kwargs, of=2)
    return moved(*ops.origins.among(args), elements=y.numel())


def count_lookup(ops: Operations, y: Tensor, args: Any, kwargs: Any) -> Origin | None:
    """Rows of an embedding table, which absorbs constant factors of its output."""
    return ops.made(f"{ops.stack[-1].name} table", y.numel()) if ops.is_weight(args[0]) else None


def count_pool(ops: Operations, y: Any, args: Any, kwargs: Any) -> Origin | None:
    x, kernel, stride, padding = [*args, (), ()][:4]
    y = y[0] if isinstance(y, tuple) else y
    dilation = args[4] if len(args) > 4 and isinstance(args[4], list | tuple) else (1,)
    space = x.ndim - 1 if x.ndim % 2 else x.ndim - 2  # C H W has no batch
    space = len(kernel) if len(kernel) > 1 else space
    kernel = [kernel[i % len(kernel)] for i in range(space)]
    shapes = (1, 1, *x.shape[-space:]), (1, 1, *kernel), (1, 1, *y.shape[-space:])
    _, axes = conv_fan_out(*shapes, stride or kernel, padding or (0,), dilation, False, 1)

    def amount(seen: Tensor) -> int:
        return spread(seen.reshape(1, -1, *x.shape[-space:]), 1, axes)

    ops.add("pool", y.numel() * prod(kernel), look(x, ops.units), amount)
    return moved(ops.origins.of(x), elements=y.numel())


def count_global_pool(ops: Operations, y: Any, args: Any, kwargs: Any) -> Origin | None:
    ops.add("pool", args[0].numel(), look(args[0], ops.units))
    return moved(ops.origins.of(args[0]))


def count_roi_align(ops: Operations, y: Tensor, args: Any, kwargs: Any) -> Origin | None:
    """torchvision's: each number is a mean over points, bilinear between four pixels each."""
    x, points = args[0], args[5]
    number = 4 * (points**2 if points > 0 else 1)
    for op in ("scale", "sum"):
        ops.add(op, number * y.numel(), look(y, ops.units), lambda seen: number * total(seen))
    return moved(ops.origins.of(x), elements=y.numel())


# ---- norms and biases


def count_norm(ops: Operations, y: Any, args: Any, kwargs: Any) -> Origin | None:
    x, y = args[0], y[0] if isinstance(y, tuple) else y
    if ops.bias is not None and ops.bias[0] == x.data_ptr():  # folding merges both biases into one
        _, layer, outputs = ops.bias
        layer.hits, layer.macs, layer.dense = layer.hits - outputs, layer.macs - outputs, layer.dense - outputs
    ops.bias = None
    ops.add("bias", y.numel())
    origin = ops.origins.of(x)
    if origin is None or origin.affine:
        return moved(origin, elements=y.numel(), biased=True)
    result = Origin(y.numel())
    ops.scale(x, None, y.shape, result)
    return result


def _count_bias(ops: Operations, y: Tensor, bias: Any) -> None:
    ops.bias = None
    if bias is not None:
        layer = ops.add("bias", y.numel())
        ops.bias = (y.data_ptr(), layer, y.numel())


def learns(name: str, args: Sequence[Any]) -> bool:
    """Whether a norm uses the statistics of its input, so that it cannot be folded."""
    flag = {"native_batch_norm": 5, "cudnn_batch_norm": 5, "miopen_batch_norm": 5, "_native_batch_norm_legit": 5}
    return name in flag and (len(args) <= flag[name] + 1 or bool(args[flag[name]]))


COUNTED: dict[str, Count] = {  # keys are names in torch.ops.aten; in-place variants are included
    "convolution": count_conv,
    "convolution_overrideable": count_conv,
    "mm": count_matmul,
    "bmm": count_matmul,
    "mv": count_mv,
    "dot": count_mv,
    "vdot": count_mv,
    "addmm": count_addmm,
    "baddbmm": count_addmm,
    "sum": count_sum,
    "nansum": count_sum,
    "mean": count_sum,
    "cumsum": partial(count_sum, op="scan"),
    "index_add": partial(count_sum, of=3),
    "scatter_add": partial(count_sum, of=3),
    "index_put": count_put,
    "_unsafe_index_put": count_put,
    "embedding": count_lookup,
    "max_pool2d_with_indices": count_pool,
    "max_pool3d_with_indices": count_pool,
    "max_pool2d": count_pool,
    "avg_pool2d": count_pool,
    "avg_pool3d": count_pool,
    "roi_align": count_roi_align,
    "_adaptive_avg_pool2d": count_global_pool,
    "_adaptive_avg_pool3d": count_global_pool,
    "adaptive_max_pool2d": count_global_pool,
    "adaptive_max_pool3d": count_global_pool,
    "_native_batch_norm_legit_no_training": count_norm,
    "_native_batch_norm_legit": count_norm,
    "native_batch_norm": count_norm,
    "cudnn_batch_norm": count_norm,
    "miopen_batch_norm": count_norm,
    **ELEMENTWISE,
}
