"""What an operation of `torch.ops.aten` adds to the counts of its layer, from what it gave and was given.

Each function returns the origin of the result, or None where the operation just reads all that it is given.
"""

from collections.abc import Callable, Sequence
from functools import partial
from math import ceil, log2, prod
from typing import Any

import torch
from torch import Tensor

from spikeformers.analysis.fan_out import coincidences, conv_fan_out, meetings, spread
from spikeformers.analysis.operands import look, total
from spikeformers.analysis.origins import Origin, moved
from spikeformers.analysis.synaptic_ops import Operations

Count = Callable[[Operations, Any, Any, Any], Origin | None]


# ---- products


def count_conv(ops: Operations, y: Tensor, args: Any, kwargs: Any) -> Origin | None:
    x, weight, bias, stride, padding, dilation, transposed, output_padding, groups = args
    channels, axes = conv_fan_out(x.shape, weight.shape, y.shape, stride, padding, dilation, transposed, groups)
    taps = prod(weight.shape[2:])
    macs = x.numel() * channels * taps if transposed else y.numel() * weight.shape[1] * taps
    if not ops.is_weight(weight):  # a filter that depends on the input
        rest = (None, stride, padding, dilation, transposed, output_padding, groups)

        def meet(left: Tensor, right: Tensor) -> int:
            return round(float(torch.ops.aten.convolution(left.double(), right.double(), *rest).sum()))

        ops.two_sided("product", look(x, ops.units), look(weight, ops.units), x, weight, macs, meet)
        _count_bias(ops, y, bias)
        return None
    dense = x.shape[0] * x.shape[1] * channels * prod(map(sum, axes))
    ops.with_weights("convolution", ops.look(x), macs, dense, lambda a: spread(a, channels, axes), len(x))
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
    ops.with_weights("convolution", ops.look(flat), macs, dense, lambda a: spread(a, reach, axes), len(flat))
    ops.add("bias", outputs)


def count_matmul(ops: Operations, y: Tensor, args: Any, kwargs: Any) -> Origin | None:
    left, right = args[:2]
    parts = _parts(left, right)
    if ops.is_weight(left) or ops.is_weight(right):
        x, width = (right, left.shape[-2]) if ops.is_weight(left) else (left, right.shape[-1])
        width *= parts
        rows = x.numel() // x.shape[-2 if x is right else -1]
        macs = x.numel() * width
        ops.with_weights("linear", ops.look(x), macs, macs, lambda a: total(a) * width, rows)
        return _through_weights(ops, x, y)
    a, b = look(left, ops.units), look(right, ops.units)
    macs = parts * left.numel() * right.shape[-1]
    ops.two_sided("product", a, b, left, right, macs, lambda a, b: parts * meetings(a, b))
    return None


def count_mv(ops: Operations, y: Tensor, args: Any, kwargs: Any) -> Origin | None:
    """A matrix or a vector, and a vector."""
    left, right = args[:2]
    return count_matmul(ops, y, (left if left.ndim > 1 else left[None], right[:, None]), {})


def count_addmm(ops: Operations, y: Tensor, args: Any, kwargs: Any) -> Origin | None:
    bias, left, right = args[:3]
    made = count_matmul(ops, y, (left, right), {})
    _count_bias(ops, y, bias)
    if made is not None:
        made.biased = True
    return made


def _through_weights(ops: Operations, x: Tensor, y: Tensor, biased: bool = False) -> Origin:
    if (origin := ops.origins.of(x)) is not None:
        origin.absorbs()
    return ops.made(str(ops.last_product), y.numel(), biased)


def _parts(left: Any, right: Any) -> int:
    """Multiplications of real numbers that one of these takes: four where both sides are complex."""
    return prod(2 if isinstance(side, complex) or (isinstance(side, Tensor) and side.is_complex()) else 1
                for side in (left, right))  # fmt: skip


# ---- element by element


def count_mul(ops: Operations, y: Tensor, args: Any, kwargs: Any) -> Origin | None:
    left, right = args[:2]
    if ops.is_weight(left) or ops.is_weight(right):
        return _count_factor(ops, y, *((right, left) if ops.is_weight(left) else (left, right)))
    a, b, parts = look(left, ops.units), look(right, ops.units), _parts(left, right)
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
    """A constant factor: 0, 1 and -1 are wires."""
    origin = ops.origins.of(x)
    if _is_wiring(factor):
        return moved(origin, elements=y.numel())
    result = Origin(y.numel(), affine=origin is not None and origin.affine)
    ops.scale(x, factor, y.shape, result)
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
        times = size.bit_length() - 1 + size.bit_count() - 1 + (power < 0)  # squares and products of them, a division
    return _count_function(ops, y, args, kwargs, label="pow", times=times)


def count_add(ops: Operations, y: Tensor, args: Any, kwargs: Any) -> Origin | None:
    left, right = args[:2]
    if (alpha := kwargs.get("alpha", 1)) not in (1, -1) and not ops.is_weight(right):
        ops.scale(right, alpha, right.shape, None)
    if ops.is_weight(left) or ops.is_weight(right):
        return _count_constant(ops, y, *((right, left) if ops.is_weight(left) else (left, right)))
    a, b = look(left, ops.units), look(right, ops.units)
    ops.two_sided("add", a, b, left, right, y.numel(), coincidences)
    origins = ops.origins.among((left, right))
    if not all(origin.affine for origin in origins):
        return None
    for origin in origins:
        origin.is_summed()
    return moved(*origins, elements=y.numel())


def count_rsub(ops: Operations, y: Tensor, args: Any, kwargs: Any) -> Origin | None:
    return count_add(ops, y, (args[1], args[0]), {"alpha": args[2]} if len(args) > 2 else kwargs)


def _count_constant(ops: Operations, y: Tensor, x: Tensor, constant: Any) -> Origin:
    """A constant that is added: one more bias of a product with weights, or an addition where neither is 0."""
    origin = ops.origins.of(x)
    assert origin is not None
    there = constant.ne(0) if isinstance(constant, Tensor) else torch.tensor(constant != 0, device=x.device)
    if not there.any():
        return moved(origin, elements=y.numel())
    if not origin.affine:
        seen = look(x, ops.units)
        ops.add("add", y.numel(), seen, lambda amount: total(amount.expand(y.shape) * there))
    elif not origin.biased:
        ops.add("bias", y.numel())
    return moved(origin, elements=y.numel(), biased=origin.affine)


def _count_function(
    ops: Operations, y: Any, args: Any, kwargs: Any, *, label: str, op: str = "function", times: int = 1
) -> None:
    """`exp` and its like: at least a multiplication a number, whatever the number is."""
    live = [x for x in args if not ops.is_weight(x)]
    outputs = y[0] if isinstance(y, tuple | list) else y
    layer = ops.add(op, max(outputs.numel(), *(x.numel() for x in live)) * times, label=label)
    layer.left.add(look(live[0], ops.units).operand)
    if len(live) > 1:
        layer.right = layer.right or type(layer.left)()
        layer.right.add(look(live[1], ops.units).operand)


def count_compare(ops: Operations, y: Any, args: Any, kwargs: Any) -> Origin | None:
    _count_function(ops, y, args, kwargs, label="compare", op="compare")
    return None


def count_bounded(ops: Operations, y: Any, args: Any, kwargs: Any) -> Origin | None:
    """A comparison through which positive factors go."""
    count_compare(ops, y, args[:1], kwargs)
    return moved(ops.origins.of(args[0]))


def count_sorted(ops: Operations, y: Any, args: Any, kwargs: Any) -> Origin | None:
    x, axis = args[0], kwargs.get("dim", -1)
    size = x.shape[axis] if x.ndim else 1
    _count_function(ops, y, (x,), kwargs, label="compare", op="compare", times=max(ceil(log2(size)), 1))
    return None


def count_select(ops: Operations, y: Tensor, args: Any, kwargs: Any) -> Origin | None:
    """`where` and `masked_fill`: what a condition that depends on the input lets pass."""
    condition = args[0] if args[0].dtype == torch.bool and len(args) == 3 and args[0] is not y else args[1]
    if ops.is_weight(condition):
        return moved(*ops.origins.among(args), elements=y.numel())
    layer = ops.add("select", y.numel())
    layer.left.add(look(condition, ops.units).operand)
    layer.right = layer.right or type(layer.left)()
    passed = look(y, ops.units).operand
    layer.right.add(passed)
    layer.hits -= y.numel() - passed.nonzeros
    return None


# ---- sums


def count_sum(ops: Operations, y: Tensor, args: Any, kwargs: Any, op: str = "sum", of: int = 0) -> Origin | None:
    x = args[of]
    if ops.is_weight(x):
        return None
    layer = ops.add(op, x.numel(), look(x, ops.units))
    layer.sides = (ops.source(x), "")
    return moved(ops.origins.of(x), None if of == 0 else ops.origins.of(args[0]), elements=y.numel())


def count_put(ops: Operations, y: Tensor, args: Any, kwargs: Any) -> Origin | None:
    """Numbers put into others' places, or added to them."""
    if len(args) > 3 and args[3]:
        return count_sum(ops, y, args, kwargs, of=2)
    return moved(*ops.origins.among(args), elements=y.numel())


def count_lookup(ops: Operations, y: Tensor, args: Any, kwargs: Any) -> Origin | None:
    """Rows of a table, which takes constant factors of what is read from it."""
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


# ---- norms and biases


def count_norm(ops: Operations, y: Any, args: Any, kwargs: Any) -> Origin | None:
    x, y = args[0], y[0] if isinstance(y, tuple) else y
    if ops.bias is not None and ops.bias[0] == x.data_ptr():  # folded, the two are one
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


def count_transform(ops: Operations, y: Tensor, args: Any, kwargs: Any) -> Origin | None:
    """A fast Fourier transform: half as many butterflies a stage as numbers, four multiplications each."""
    x, axes = args[:2]
    long = y if x.is_complex() and not y.is_complex() else x
    stages = sum(ceil(log2(long.shape[axis])) for axis in axes if long.shape[axis] > 1)
    both = x.is_complex() and y.is_complex()
    layer = ops.add("function", (2 if both else 1) * long.numel() * stages, label="fft")
    layer.left.add(look(x, ops.units).operand)
    return None


def count_unknown(ops: Operations, y: Any, args: Any, kwargs: Any, *, label: str) -> None:
    """Something that is not counted, with what it reads."""
    layer = ops.layer("unknown", label)
    for x in (x for x in torch.utils._pytree.tree_leaves((args, kwargs)) if not ops.is_weight(x)):
        layer.left.add(look(x, ops.units).operand)


# ---- what is made of others: run in the place of PyTorch's own, and counted as it goes


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_bias: Tensor | None = None,
    attn_mask: Tensor | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    **_: Any,
) -> Tensor:
    q, k, v, bias = query, key, value, attn_mask if attn_bias is None else attn_bias
    if k.shape[-3] != q.shape[-3]:  # grouped queries
        k, v = (x.repeat_interleave(q.shape[-3] // x.shape[-3], -3) for x in (k, v))
    scores = (q @ k.mT) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        future = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).triu(1)
        scores = scores.masked_fill(future, float("-inf"))
    elif bias is not None:
        scores = scores.masked_fill(~bias, float("-inf")) if bias.dtype == torch.bool else scores + bias
    return _softmax(scores, -1) @ v


def _softmax(x: Tensor, axis: int, *_: Any) -> Tensor:
    numbers = (x - x.amax(axis, keepdim=True)).exp()
    return numbers / numbers.sum(axis, keepdim=True)


def _log_softmax(x: Tensor, axis: int, *_: Any) -> Tensor:
    x = x - x.amax(axis, keepdim=True)
    return x - x.exp().sum(axis, keepdim=True).log()


def _added(bias: Tensor, product: Tensor, beta: float, alpha: float) -> Tensor:
    return bias * beta + product * alpha


def _bilinear(a: Tensor, b: Tensor, c: Tensor, at_a: list, at_b: list, at_c: list, axes: list, *_: Any) -> Tensor:
    for i in range(a.ndim + len(at_a)):
        a, b, c = (x.unsqueeze(i) if i in at else x for x, at in ((a, at_a), (b, at_b), (c, at_c)))
    return (a * b * c).sum(axes)


def _distances(a: Tensor, b: Tensor, power: float, *_: Any) -> Tensor:
    return torch.linalg.vector_norm(a.unsqueeze(-2) - b.unsqueeze(-3), power, -1)


MEANS: dict[str, Callable[..., Any]] = {
    "_softmax": _softmax,
    "_safe_softmax": _softmax,
    "_log_softmax": _log_softmax,
    "lerp": lambda start, end, weight: start + (end - start) * weight,
    "addcmul": lambda x, a, b, *, value=1: x + a * b * value,
    "addcdiv": lambda x, a, b, *, value=1: x + a / b * value,
    "addmm": lambda x, a, b, *, beta=1, alpha=1: _added(x, a @ b, beta, alpha),
    "baddbmm": lambda x, a, b, *, beta=1, alpha=1: _added(x, a @ b, beta, alpha),
    "addmv": lambda x, a, b, *, beta=1, alpha=1: _added(x, a @ b, beta, alpha),
    "addr": lambda x, a, b, *, beta=1, alpha=1: _added(x, a[:, None] * b, beta, alpha),
    "addbmm": lambda x, a, b, *, beta=1, alpha=1: _added(
        x, a.transpose(0, 1).flatten(1) @ b.flatten(0, 1), beta, alpha
    ),
    "_trilinear": _bilinear,
    "_cdist_forward": _distances,
}


def means(func: Any, name: str, ops: Operations, args: Any, kwargs: Any) -> Callable[[], Any] | None:
    """What an operation is made of, or None for one that is counted as it is."""
    if name.startswith("_scaled_dot_product"):
        named = dict(zip((argument.name for argument in func._schema.arguments), args, strict=False))
        return lambda: _attention(**named, **kwargs)
    if name in ("addmm", "baddbmm") and ops.is_weight(args[0]) and all(kwargs.get(k, 1) == 1 for k in ("alpha", "beta")):
        return None
    return partial(MEANS[name], *args, **kwargs) if name in MEANS else None


def learns(name: str, args: Sequence[Any]) -> bool:
    """Whether a norm takes its statistics from the input, so that it does not fold."""
    flag = {"native_batch_norm": 5, "cudnn_batch_norm": 5, "miopen_batch_norm": 5, "_native_batch_norm_legit": 5}
    return name in flag and (len(args) <= flag[name] + 1 or bool(args[flag[name]]))


_FUNCTIONS = """
acos acosh asin asinh atan atan2 atanh cos cosh cumprod digamma erf erfc erfinv exp exp2 expm1 fmod frac lgamma log
log10 log1p log2 logcumsumexp prod reciprocal remainder rsqrt sigmoid sin sinh sqrt tan tanh
""".split()
_COMPARED = """
amax aminmax argmax argmin amin bernoulli bucketize ceil clamp clamp_max clamp_min cummax cummin eq floor fmax fmin ge
gt heaviside le lt max maximum min minimum ne round searchsorted sgn sign threshold trunc
""".split()
MOVES = frozenset(
    """
_reshape_copy _to_copy _unsafe_index _unsafe_view abs block_diag cat channel_shuffle clone complex
conj_physical constant_pad_nd convert_element_type copy diag_embed diagonal_scatter fill flip gather im2col index
index_copy index_select masked_scatter masked_select native_channel_shuffle neg pixel_shuffle pixel_unshuffle
reflection_pad1d reflection_pad2d reflection_pad3d repeat repeat_interleave replication_pad1d replication_pad2d
replication_pad3d resize roll rot90 scatter select_scatter slice_scatter stack take tril triu unsafe_split
unsafe_split_with_sizes upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d
_upsample_nearest_exact2d _upsample_nearest_exact3d zero
""".split()
)
MADE = frozenset(  # of a tensor's shape alone
    "empty_like full_like ones_like zeros_like new_empty new_empty_strided new_full new_ones new_zeros".split()
)
COUNTED: dict[str, Count] = {  # by the operation's name in torch.ops.aten, in place or not
    "convolution": count_conv,
    "convolution_overrideable": count_conv,
    "mm": count_matmul,
    "bmm": count_matmul,
    "mv": count_mv,
    "dot": count_mv,
    "vdot": count_mv,
    "addmm": count_addmm,
    "baddbmm": count_addmm,
    "mul": count_mul,
    "div": count_div,
    "pow": count_pow,
    "add": count_add,
    "sub": count_add,
    "rsub": count_rsub,
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
    "_adaptive_avg_pool2d": count_global_pool,
    "_adaptive_avg_pool3d": count_global_pool,
    "adaptive_max_pool2d": count_global_pool,
    "adaptive_max_pool3d": count_global_pool,
    "_native_batch_norm_legit_no_training": count_norm,
    "_native_batch_norm_legit": count_norm,
    "native_batch_norm": count_norm,
    "cudnn_batch_norm": count_norm,
    "miopen_batch_norm": count_norm,
    "where": count_select,
    "masked_fill": count_select,
    "relu": count_bounded,
    "sort": count_sorted,
    "topk": count_sorted,
    "_fft_c2c": count_transform,
    "_fft_r2c": count_transform,
    "_fft_c2r": count_transform,
    **dict.fromkeys(_COMPARED, count_compare),
    **{name: partial(_count_function, label=name) for name in _FUNCTIONS},
}
