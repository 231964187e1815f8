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

from spikeformers.analysis.elementwise_counts import ELEMENTWISE, Count, halves, real_parts
from spikeformers.analysis.fan_out import conv_fan_out, meetings, spread, spread_where
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
    parts = real_parts(x, weight)
    dense = x.shape[0] * x.shape[1] * channels * prod(map(sum, axes))

    there = _connected(weight)

    def spread_of(amount: Tensor) -> int:
        if there is None:
            return parts * spread(amount, channels, axes)
        return parts * spread_where(there, amount, args[3:])

    biased = 0 if bias is None else y.numel()
    ops.with_weights(
        "convolution", ops.look(x), parts * macs, parts * dense, spread_of, len(x), weight.numel(), biased
    )  # fmt: skip
    _count_bias(ops, y, bias)
    return _through_weights(ops, x, y, bias is not None)


def _connected(weight: Tensor) -> Tensor | None:
    """Where weights are not 0, or None if none is."""
    if weight.is_meta:
        return None
    there = weight.to_dense().ne(0)
    return None if there.all() else there


def count_matmul(ops: Operations, y: Tensor, args: Any, kwargs: Any, biased: int = 0) -> Origin | None:
    left, right = args[:2]
    parts = real_parts(left, right)
    if ops.is_weight(left) or ops.is_weight(right):
        x, weight = (right, left) if ops.is_weight(left) else (left, right)
        width = parts * weight.shape[-2 if x is right else -1]
        rows = ops.rows_of(x, x.numel() // x.shape[-2 if x is right else -1])
        macs = x.numel() * width

        there = _connected(weight)

        def spread_of(amount: Tensor) -> int:
            if there is None:
                return total(amount) * width
            return parts * (meetings(there.float(), amount) if x is right else meetings(amount, there.float()))

        ops.with_weights("linear", ops.look(x), macs, macs, spread_of, rows, weight.numel(), biased)
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
    parts = halves(x)
    layer = ops.add(op, parts * x.numel(), look(x, ops.units), lambda amount: parts * total(amount))
    layer.sides = (ops.source(x), "")
    result = moved(ops.origins.of(x), None if of == 0 else ops.origins.of(args[0]), elements=y.numel())
    result.once = op == "sum" and not of and _over_time(ops, x, args[1:])
    return result


def _over_time(ops: Operations, x: Tensor, args: Any) -> bool:
    """Whether a sum takes all steps of `[T, B, ...]` together."""
    axes = args[0] if args and isinstance(args[0], list | tuple) else ()
    in_time = x.ndim > 1 and ops.steps is not None and x.shape[:2] == (ops.steps, ops.in_batch)
    return in_time and (not axes or any(axis in (0, -x.ndim) for axis in axes))


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
    origin = ops.origins.of(x)
    if origin is None or not origin.biased:  # folding merges two biases into one
        ops.add("bias", y.numel())
    if origin is None or origin.affine:
        result = moved(origin, elements=y.numel(), biased=True)
        result.bounded = False  # its own bias takes what is added
        return result
    result = Origin(y.numel())
    ops.scale(x, None, y.shape, result)
    return result


def _count_bias(ops: Operations, y: Tensor, bias: Any) -> None:
    if bias is not None:
        ops.add("bias", y.numel())


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
