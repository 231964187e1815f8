"""What an operation of `torch.ops.aten` adds to the counts of its layer, from what it gave and was given."""

from collections.abc import Callable
from math import prod
from typing import Any

from torch import Tensor

from spikeformers.analysis.fan_out import coincidences, conv_fan_out, meetings, spread
from spikeformers.analysis.operands import Operand, Seen, look, total
from spikeformers.analysis.synaptic_ops import Operations


def count_conv(ops: Operations, y: Tensor, args: Any, kwargs: Any) -> None:
    x, weight, bias, stride, padding, dilation, transposed, _, groups = args
    channels, axes = conv_fan_out(x.shape, weight.shape, y.shape, stride, padding, dilation, transposed, groups)
    taps = prod(weight.shape[2:])
    macs = x.numel() * channels * taps if transposed else y.numel() * weight.shape[1] * taps
    dense = x.shape[0] * x.shape[1] * channels * prod(map(sum, axes))
    ops.with_weights("convolution", ops.look(x), macs, dense, lambda a: spread(a, channels, axes), len(x))
    _count_bias(ops, y, bias)


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


def count_matmul(ops: Operations, y: Tensor, args: Any, kwargs: Any) -> None:
    left, right = args
    if ops.is_weight(left) and ops.is_weight(right):
        return
    if ops.is_weight(left) or ops.is_weight(right):
        x, width = (right, left.shape[-2]) if ops.is_weight(left) else (left, right.shape[-1])
        rows = x.numel() // x.shape[-2 if x is right else -1]
        macs = x.numel() * width
        ops.with_weights("linear", ops.look(x), macs, macs, lambda a: total(a) * width, rows)
    else:
        a, b = look(left, ops.units), look(right, ops.units)
        ops.two_sided("product", a, b, left, right, left.numel() * right.shape[-1], meetings)


def count_addmm(ops: Operations, y: Tensor, args: Any, kwargs: Any) -> None:
    bias, left, right = args
    count_matmul(ops, y, (left, right), {})
    _count_bias(ops, y, bias)


def count_sdpa(ops: Operations, output: Any, args: Any, kwargs: Any) -> None:
    q, k, v = args[:3]
    a, b, c = (look(x, ops.units) for x in (q, k, v))
    b.nonzero, b.counts = b.nonzero.mT, None if b.counts is None else b.counts.mT
    ops.two_sided("product", a, b, q, k, q.numel() * k.shape[-2], meetings)
    weights = q.new_ones(*q.shape[:-1], k.shape[-2])  # a softmax leaves no zero
    attention = Operand(weights.numel(), weights.numel(), unit=None, example=1 / k.shape[-2])
    macs = weights.numel() * v.shape[-1]
    ops.two_sided("product", Seen(attention, weights), c, q.new_empty(0), v, macs, meetings)


def count_mul(ops: Operations, y: Tensor, args: Any, kwargs: Any) -> None:
    left, right = args[:2]
    if ops.is_weight(left) or ops.is_weight(right):
        return
    a, b = look(left, ops.units), look(right, ops.units)
    # a real number a channel or a head is a constant, which folds into weights
    if any(s.operand.unit is None and s.operand.elements < y.numel() for s in (a, b)):
        return
    ops.two_sided("mask", a, b, left, right, y.numel(), coincidences)


def count_add(ops: Operations, y: Tensor, args: Any, kwargs: Any) -> None:
    left, right = args[:2]
    if ops.is_weight(left) or ops.is_weight(right) or left.numel() != right.numel():
        return
    ops.add("add", y.numel()).hits -= y.numel() - int(left.logical_and(right).count_nonzero())


def count_sum(ops: Operations, y: Tensor, args: Any, kwargs: Any) -> None:
    if not isinstance(args[0], Tensor) or ops.is_weight(args[0]):
        return
    layer = ops.add("sum", args[0].numel(), look(args[0], ops.units))
    layer.sides = (ops.source(args[0]), "")


def count_pool(ops: Operations, y: Any, args: Any, kwargs: Any) -> None:
    x, kernel, stride, padding = [*args, (), ()][:4]
    kernel, y = (1, 1, *kernel), y[0] if isinstance(y, tuple) else y
    _, axes = conv_fan_out(x.shape, kernel, y.shape, stride or kernel[2:], padding or (0,), (1,), False, 1)
    ops.add("pool", y.numel() * prod(kernel), look(x, ops.units), lambda amount: spread(amount, 1, axes))


def count_global_pool(ops: Operations, y: Any, args: Any, kwargs: Any) -> None:
    ops.add("pool", args[0].numel(), look(args[0], ops.units))


def count_norm(ops: Operations, y: Any, args: Any, kwargs: Any) -> None:
    x, y = args[0], y[0] if isinstance(y, tuple) else y
    if ops.bias is not None and ops.bias[0] == x.data_ptr():  # folded, the two are one
        _, layer, outputs = ops.bias
        layer.hits, layer.macs, layer.dense = layer.hits - outputs, layer.macs - outputs, layer.dense - outputs
    ops.bias = None
    ops.add("bias", y.numel())


def _count_bias(ops: Operations, y: Tensor, bias: Any) -> None:
    ops.bias = None
    if bias is not None:
        layer = ops.add("bias", y.numel())
        ops.bias = (y.data_ptr(), layer, y.numel())


COUNTED: dict[str, Callable[..., None]] = {  # by the operation's name in torch.ops.aten
    "convolution": count_conv,
    "mm": count_matmul,
    "bmm": count_matmul,
    "addmm": count_addmm,
    "baddbmm": count_addmm,
    "mul": count_mul,
    "add": count_add,
    "sub": count_add,
    "sum": count_sum,
    "mean": count_sum,
    "max_pool2d_with_indices": count_pool,
    "max_pool2d": count_pool,
    "avg_pool2d": count_pool,
    "_adaptive_avg_pool2d": count_global_pool,
    "_native_batch_norm_legit_no_training": count_norm,
    "native_batch_norm": count_norm,
    "cudnn_batch_norm": count_norm,
    "_scaled_dot_product_flash_attention_for_cpu": count_sdpa,
    "_scaled_dot_product_flash_attention": count_sdpa,
    "_scaled_dot_product_efficient_attention": count_sdpa,
    "_scaled_dot_product_cudnn_attention": count_sdpa,
}
IN_PLACE = {f"{name}_": COUNTED[name] for name in ("add", "mul", "sub")}
