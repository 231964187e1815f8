"""Counting elementwise operations: factors, sums, functions, comparisons.

Each function adds to the counts of the current layer, and returns the origin of the result, or None if the operation
only reads its inputs, so that no constant factor passes through it.
"""

from collections.abc import Callable
from functools import partial
from math import ceil, log2
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from spikeformers.analysis.fan_out import coincidences
from spikeformers.analysis.operands import Operand, look, total
from spikeformers.analysis.operations import Operations
from spikeformers.analysis.origins import Origin, moved

Count = Callable[[Operations, Any, Any, Any], Origin | None]


def real_parts(left: Any, right: Any) -> int:
    """Real multiplications in one product of these operands: two if one side is complex, four if both are."""
    return halves(left) * halves(right)


def halves(x: Any) -> int:
    """The real numbers in one of `x`, and so the real additions in a sum."""
    return 2 if isinstance(x, complex) or (isinstance(x, Tensor) and x.is_complex()) else 1


def count_mul(ops: Operations, y: Tensor, args: Any, kwargs: Any) -> Origin | None:
    left, right = args[:2]
    if ops.is_weight(left) or ops.is_weight(right):
        return _count_factor(ops, y, *((right, left) if ops.is_weight(left) else (left, right)))
    a, b, parts = look(left, ops.units), look(right, ops.units), real_parts(left, right)
    ops.two_sided("mask", a, b, left, right, parts * y.numel(), lambda a, b: parts * coincidences(a, b))
    return None


def count_div(ops: Operations, y: Tensor, args: Any, kwargs: Any) -> Origin | None:
    left, right = args[:2]
    if ops.is_weight(right):
        return _count_factor(ops, y, left, right)
    if ops.is_weight(left):
        ops.add("division", y.numel()).left.add(look(right, ops.units).operand)
    else:
        a, b = look(left, ops.units), look(right, ops.units)
        ops.two_sided("division", a, b, left, right, y.numel(), lambda a, b: total(a.expand(y.shape)))
    return None


def _count_factor(ops: Operations, y: Tensor, x: Tensor, factor: Any) -> Origin:
    """A product with a constant. 0, 1 and -1 cost nothing: in hardware they are wiring."""
    origin = ops.origins.of(x)
    if _is_wiring(factor):
        return moved(origin, elements=y.numel())
    result = Origin(y.numel())
    if origin is not None and origin.affine:
        result.affine, result.biased, result.bounded = True, origin.biased, origin.bounded
    ops.scale(x, factor, y.shape, result, real_parts(x, factor))
    return result


def _is_wiring(factor: Any) -> bool:
    if isinstance(factor, Tensor):
        return not factor.is_complex() and bool(((factor == 0) | (factor.abs() == 1)).all())
    return factor in (0, 1, -1)


def count_pow(ops: Operations, y: Tensor, args: Any, kwargs: Any) -> Origin | None:
    x, power = args[:2]
    if power == 1 and not isinstance(power, Tensor):
        return moved(ops.origins.of(x))
    if power == 2 and not isinstance(power, Tensor):
        return count_mul(ops, y, (x, x), {})
    times = 1
    if isinstance(power, int | float) and power == int(power) and power:
        size = abs(int(power))
        times = size.bit_length() - 1 + size.bit_count() - 1 + (power < 0)  # by repeated squaring, and a division
    return _count_function(ops, y, args, kwargs, label="pow", times=times)


def count_add(ops: Operations, y: Tensor, args: Any, kwargs: Any) -> Origin | None:
    left, right = args[:2]
    if (alpha := kwargs.get("alpha", 1)) not in (1, -1) and not ops.is_weight(right):
        ops.scale(right, alpha, right.shape, None, real_parts(right, alpha))
    if ops.is_weight(left) or ops.is_weight(right):
        return _count_constant(ops, y, *((right, left) if ops.is_weight(left) else (left, right)))
    a, b, parts = look(left, ops.units), look(right, ops.units), halves(y)
    ops.two_sided("add", a, b, left, right, parts * y.numel(), lambda a, b: parts * coincidences(a, b))
    origins = ops.origins.among((left, right))
    if not all(origin.affine for origin in origins):
        return None
    for origin in origins:
        origin.is_summed()
    return moved(*origins, elements=y.numel(), biased=any(origin.biased for origin in origins))


def count_rsub(ops: Operations, y: Tensor, args: Any, kwargs: Any) -> Origin | None:
    return count_add(ops, y, (args[1], args[0]), {"alpha": args[2]} if len(args) > 2 else kwargs)


def _count_constant(ops: Operations, y: Tensor, x: Tensor, constant: Any) -> Origin:
    """A sum with a constant: merged into a product's bias if possible, else an addition wherever neither is 0."""
    origin = ops.origins.of(x)
    assert origin is not None
    there = constant.ne(0) if isinstance(constant, Tensor) else torch.tensor(constant != 0, device=x.device)
    if not there.any():
        return moved(origin, elements=y.numel())
    folds, parts = origin.affine and not origin.bounded, halves(y)
    if not folds:
        seen = look(x, ops.units)
        ops.add("add", parts * y.numel(), seen, lambda amount: parts * total(amount.expand(y.shape) * there))
    elif not origin.biased:
        ops.add("bias", parts * y.numel())
    return moved(origin, elements=y.numel(), biased=folds)


def _count_function(
    ops: Operations, y: Any, args: Any, kwargs: Any, *, label: str, op: str = "function", times: int = 1
) -> None:
    """Functions such as `exp`: at least one multiplication per number, whatever its value."""
    live = [x for x in args if not ops.is_weight(x)]
    outputs = y[0] if isinstance(y, tuple | list) else y
    layer = ops.add(op, max([outputs.numel(), *(x.numel() for x in live)]) * times, label=label)
    if live:  # random numbers are drawn from nothing
        layer.left.add(look(live[0], ops.units).operand)
    if len(live) > 1:
        layer.right = layer.right or Operand()
        layer.right.add(look(live[1], ops.units).operand)


def count_compare(ops: Operations, y: Any, args: Any, kwargs: Any) -> Origin | None:
    _count_function(ops, y, args, kwargs, label="compare", op="compare")
    return None


def count_bounded(ops: Operations, y: Any, args: Any, kwargs: Any) -> Origin | None:
    """A comparison that commutes with positive factors, such as `relu`."""
    count_compare(ops, y, args[:1], kwargs)
    result = moved(ops.origins.of(args[0]))
    result.biased, result.bounded = False, True
    return result


def count_sorted(ops: Operations, y: Any, args: Any, kwargs: Any, *, at: int) -> Origin | None:
    """Sorting along an axis, which is argument `at` where it is no keyword."""
    x, axis = args[0], args[at] if len(args) > at else kwargs.get("dim", -1)
    size = x.shape[axis] if x.ndim else 1
    _count_function(ops, y, (x,), kwargs, label="compare", op="compare", times=ceil(log2(max(size, 2))))
    return None


def count_select(ops: Operations, y: Tensor, args: Any, kwargs: Any) -> Origin | None:
    """`where` and `masked_fill` with a condition that depends on the input."""
    condition = args[0] if args[0].dtype == torch.bool and len(args) == 3 and args[0] is not y else args[1]
    if ops.is_weight(condition):
        return moved(*ops.origins.among(args), elements=y.numel())
    layer = ops.add("select", y.numel())
    layer.left.add(look(condition, ops.units).operand)
    layer.right = layer.right or Operand()
    passed = look(y, ops.units).operand
    layer.right.add(passed)
    layer.hits -= y.numel() - passed.nonzeros
    return None


def count_transform(ops: Operations, y: Tensor, args: Any, kwargs: Any) -> Origin | None:
    """A fast Fourier transform: N / 2 butterflies per stage, of four multiplications each."""
    x, axes = args[:2]
    long = y if x.is_complex() and not y.is_complex() else x
    stages = sum(ceil(log2(long.shape[axis])) for axis in axes if long.shape[axis] > 1)
    both = x.is_complex() and y.is_complex()
    layer = ops.add("function", (2 if both else 1) * long.numel() * stages, label="fft")
    layer.left.add(look(x, ops.units).operand)
    return None


def count_unknown(ops: Operations, y: Any, args: Any, kwargs: Any, *, label: str) -> None:
    """An operation of unknown cost: only its operands are recorded."""
    layer = ops.layer("unknown", label)
    for x in (x for x in tree_leaves((args, kwargs)) if not ops.is_weight(x)):
        layer.left.add(look(x, ops.units).operand)


def _names(words: str) -> list[str]:
    return words.split()


_FUNCTIONS = _names("""
acos acosh asin asinh atan atan2 atanh cos cosh cumprod digamma erf erfc erfinv exp exp2 expm1 fmod frac lgamma log
log10 log1p log2 logcumsumexp prod reciprocal remainder rsqrt sigmoid sin sinh sqrt tan tanh
""")
_COMPARED = _names("""
amax aminmax argmax argmin amin bernoulli bucketize ceil clamp clamp_max clamp_min cummax cummin eq floor fmax fmin ge
gt heaviside le lt max maximum min minimum ne round searchsorted sgn sign threshold trunc
""")
MOVES = frozenset(
    _names("""
_reshape_copy _to_copy _unsafe_index _unsafe_view abs block_diag cat channel_shuffle clone complex
conj_physical constant_pad_nd convert_element_type copy diag_embed diagonal_scatter fill flip gather im2col index
index_copy index_select masked_scatter masked_select native_channel_shuffle neg pixel_shuffle pixel_unshuffle
reflection_pad1d reflection_pad2d reflection_pad3d repeat repeat_interleave replication_pad1d replication_pad2d
replication_pad3d resize roll rot90 scatter select_scatter slice_scatter stack take tril triu unsafe_split
unsafe_split_with_sizes upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d
_upsample_nearest_exact2d _upsample_nearest_exact3d zero
""")
)
SHAPE_ONLY = frozenset(  # operations that read a tensor's shape, not its numbers
    _names("empty_like full_like ones_like zeros_like new_empty new_empty_strided new_full new_ones new_zeros")
)
ELEMENTWISE: dict[str, Count] = {
    "mul": count_mul,
    "div": count_div,
    "pow": count_pow,
    "add": count_add,
    "sub": count_add,
    "rsub": count_rsub,
    "where": count_select,
    "masked_fill": count_select,
    "relu": count_bounded,
    "sort": partial(count_sorted, at=1),
    "topk": partial(count_sorted, at=2),
    "_fft_c2c": count_transform,
    "_fft_r2c": count_transform,
    "_fft_c2r": count_transform,
    **dict.fromkeys(_COMPARED, count_compare),
    **{name: partial(_count_function, label=name) for name in _FUNCTIONS},
}
