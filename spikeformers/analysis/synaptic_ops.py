"""What one operation adds to the counts of its layer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from math import prod
from typing import Any

from torch import Tensor, nn

from spikeformers.analysis.fan_out import coincidences, conv_fan_out, meetings, spread
from spikeformers.analysis.neuron_activity import units_of
from spikeformers.analysis.operands import Operand, Seen, look, total


@dataclass
class Layer:
    """One operation of a model with all that it did, over any number of batches.

    `name` is the module that does it and, where that does several, which of them. `op` is `convolution`, `linear`,
    `product` (of two activations), `mask` (element by element), `sum`, `add`, `pool`, `bias` (what a folded norm
    leaves) or `neuron` (an update; `left` is what comes out). `right` is None where the other side is weights.
    """

    name: str
    op: str
    left: Operand = field(default_factory=Operand)
    right: Operand | None = None
    role: str = ""  # `first`, ahead of any neuron; `classifier`
    attention: bool = False  # inside an attention part
    macs: int = 0  # multiplications as papers count them, padding included
    dense: int = 0  # those that have an input
    hits: int = 0  # those neither of whose sides is 0
    left_events: int = 0  # hits, each as often as its left number has spikes
    right_events: int = 0
    shown: int = 1  # how often one sample passes: T, or 1 for what is done once
    leaks: bool = False  # of a neuron: whether an update multiplies
    sides: tuple[str, str] = ("", "")  # the neurons that the two sides come from, where they are known

    def describe(self) -> dict[str, Any]:
        """Plain numbers, for JSON."""
        says = {key: value for key, value in asdict(self).items() if key not in ("left", "right")}
        return {**says, "left": self.left.describe(), "right": self.right.describe() if self.right else None}


@dataclass
class Place:
    """A module that is being called, by name, how many operations of each kind it has done, and whose spikes are whose.

    `sources` are the neurons right inside of it, by the memory of their spikes, which live as long as the call.
    """

    name: str
    module: nn.Module
    done: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    sources: dict[int, str] = field(default_factory=dict)


class Operations:
    """The layers of a model, each with what its operations did; `stack` is where in the model it is at the moment.

    The methods that count take what an operation of `torch.ops.aten` gave and was given.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self.layers: dict[str, Layer] = {}
        self.units = units_of(model)
        self.stack: list[Place] = []
        self.in_batch = 0  # samples
        self.fired = False  # whether any neuron was called in this batch
        self.last_product: str | None = None
        self._weights = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers()) if t.numel()}
        self._last: tuple[Tensor, int, Seen] | None = None
        self._bias: tuple[int, Layer, int] | None = None

    def begin(self, samples: int) -> None:
        """A new batch."""
        self.in_batch, self.fired, self.last_product = samples, False, None
        self._bias = self._last = None

    def layer(self, op: str) -> Layer:
        """The layer of the operation that is being done: its module's name, and which of the module's it is."""
        place = self.stack[-1]
        place.done[op] += 1
        first = place.done[op] == 1
        own = "" if op in ("convolution", "linear") and first else op if op == "bias" else f"{op}{place.done[op]}"
        name = ".".join(filter(None, (place.name, own)))
        return self.layers.setdefault(name, Layer(name, op, attention=hasattr(place.module, "attn_neuron")))

    def _look(self, x: Tensor) -> Seen:
        if self._last is not None:  # q, k and v read the same
            known, version, seen = self._last
            same = known.data_ptr() == x.data_ptr() and known.shape == x.shape and known.stride() == x.stride()
            if same and version == _version(x) and known.dtype == x.dtype:
                return seen
        seen = look(x, self.units)
        self._last = (x, _version(x), seen)
        return seen

    def _is_weight(self, x: Any) -> bool:
        return not isinstance(x, Tensor) or x.ndim == 0 or x.untyped_storage().data_ptr() in self._weights

    def _source(self, x: Tensor) -> str:
        pointer = x.untyped_storage().data_ptr()
        return next((place.sources[pointer] for place in reversed(self.stack) if pointer in place.sources), "")

    def _with_weights(
        self, op: str, seen: Seen, macs: int, dense: int, spread_of: Callable[[Tensor], int], rows: int
    ) -> None:
        layer = self.layer(op)
        layer.left.add(seen.operand)
        layer.macs += macs
        layer.dense += dense
        hits = spread_of(seen.nonzero)
        layer.hits += hits
        layer.left_events += hits if seen.counts is None else spread_of(seen.counts)
        layer.shown = max(layer.shown, rows // max(self.in_batch, 1))
        if not self.fired and (layer.role or not any(known.role for known in self.layers.values())):
            layer.role = "first"
        self.last_product = layer.name

    def count_conv(self, y: Tensor, args: Any, kwargs: Any) -> None:
        x, weight, bias, stride, padding, dilation, transposed, _, groups = args
        channels, axes = conv_fan_out(x.shape, weight.shape, y.shape, stride, padding, dilation, transposed, groups)
        taps = prod(weight.shape[2:])
        macs = x.numel() * channels * taps if transposed else y.numel() * weight.shape[1] * taps
        dense = x.shape[0] * x.shape[1] * channels * prod(map(sum, axes))
        self._with_weights("convolution", self._look(x), macs, dense, lambda a: spread(a, channels, axes), len(x))
        self._count_bias(y, bias)

    def count_chain(self, x: Tensor, channels: int, kernel: int, in_channels: int) -> None:
        flat = x.reshape(-1, *x.shape[-3:])
        shape = (channels, in_channels, kernel, kernel)
        pad = kernel // 2
        reach, axes = conv_fan_out(flat.shape, shape, flat.shape, (1,), (pad,), (1,), False, 1)
        outputs = flat.numel() // in_channels * channels
        macs = outputs * in_channels * kernel**2
        dense = len(flat) * in_channels * reach * prod(map(sum, axes))
        self._with_weights("convolution", self._look(flat), macs, dense, lambda a: spread(a, reach, axes), len(flat))
        self._add("bias", outputs)

    def count_matmul(self, y: Tensor, args: Any, kwargs: Any) -> None:
        left, right = args
        if self._is_weight(left) and self._is_weight(right):
            return
        if self._is_weight(left) or self._is_weight(right):
            x, width = (right, left.shape[-2]) if self._is_weight(left) else (left, right.shape[-1])
            rows = x.numel() // x.shape[-2 if x is right else -1]
            macs = x.numel() * width
            self._with_weights("linear", self._look(x), macs, macs, lambda a: total(a) * width, rows)
        else:
            a, b = look(left, self.units), look(right, self.units)
            self._two_sided("product", a, b, left, right, left.numel() * right.shape[-1], meetings)

    def count_addmm(self, y: Tensor, args: Any, kwargs: Any) -> None:
        bias, left, right = args
        self.count_matmul(y, (left, right), {})
        self._count_bias(y, bias)

    def count_sdpa(self, output: Any, args: Any, kwargs: Any) -> None:
        q, k, v = args[:3]
        a, b, c = (look(x, self.units) for x in (q, k, v))
        b.nonzero, b.counts = b.nonzero.mT, None if b.counts is None else b.counts.mT
        self._two_sided("product", a, b, q, k, q.numel() * k.shape[-2], meetings)
        weights = q.new_ones(*q.shape[:-1], k.shape[-2])  # a softmax leaves no zero
        attention = Operand(weights.numel(), weights.numel(), unit=None, example=1 / k.shape[-2])
        macs = weights.numel() * v.shape[-1]
        self._two_sided("product", Seen(attention, weights), c, q.new_empty(0), v, macs, meetings)

    def _two_sided(
        self, op: str, a: Seen, b: Seen, left: Tensor, right: Tensor, macs: int, meet: Callable[[Tensor, Tensor], int]
    ) -> Layer:
        layer = self.layer(op)
        layer.left.add(a.operand)
        layer.right = layer.right or Operand()
        layer.right.add(b.operand)
        layer.macs += macs
        layer.dense += macs
        hits = meet(a.nonzero, b.nonzero)
        layer.hits += hits
        layer.left_events += hits if a.counts is None else meet(a.counts, b.nonzero)
        layer.right_events += hits if b.counts is None else meet(a.nonzero, b.counts)
        layer.sides = (self._source(left), self._source(right))
        return layer

    def count_mul(self, y: Tensor, args: Any, kwargs: Any) -> None:
        left, right = args[:2]
        if self._is_weight(left) or self._is_weight(right):
            return
        a, b = look(left, self.units), look(right, self.units)
        # a real number a channel or a head is a constant, which folds into weights
        if any(s.operand.unit is None and s.operand.elements < y.numel() for s in (a, b)):
            return
        self._two_sided("mask", a, b, left, right, y.numel(), coincidences)

    def count_add(self, y: Tensor, args: Any, kwargs: Any) -> None:
        left, right = args[:2]
        if self._is_weight(left) or self._is_weight(right) or left.numel() != right.numel():
            return
        self._add("add", y.numel()).hits -= y.numel() - int(left.logical_and(right).count_nonzero())

    def count_sum(self, y: Tensor, args: Any, kwargs: Any) -> None:
        if not isinstance(args[0], Tensor) or self._is_weight(args[0]):
            return
        layer = self._add("sum", args[0].numel(), look(args[0], self.units))
        layer.sides = (self._source(args[0]), "")

    def count_pool(self, y: Any, args: Any, kwargs: Any) -> None:
        x, kernel, stride, padding = [*args, (), ()][:4]
        kernel, y = (1, 1, *kernel), y[0] if isinstance(y, tuple) else y
        _, axes = conv_fan_out(x.shape, kernel, y.shape, stride or kernel[2:], padding or (0,), (1,), False, 1)
        self._add("pool", y.numel() * prod(kernel), look(x, self.units), lambda amount: spread(amount, 1, axes))

    def count_global_pool(self, y: Any, args: Any, kwargs: Any) -> None:
        self._add("pool", args[0].numel(), look(args[0], self.units))

    def count_norm(self, y: Any, args: Any, kwargs: Any) -> None:
        x, y = args[0], y[0] if isinstance(y, tuple) else y
        if self._bias is not None and self._bias[0] == x.data_ptr():  # folded, the two are one
            _, layer, outputs = self._bias
            layer.hits, layer.macs, layer.dense = layer.hits - outputs, layer.macs - outputs, layer.dense - outputs
        self._bias = None
        self._add("bias", y.numel())

    def _count_bias(self, y: Tensor, bias: Any) -> None:
        self._bias = None
        if bias is not None:
            layer = self._add("bias", y.numel())
            self._bias = (y.data_ptr(), layer, y.numel())

    def _add(self, op: str, elements: int, seen: Seen | None = None, amount: Callable[[Tensor], int] = total) -> Layer:
        layer = self.layer(op)
        layer.macs += elements
        layer.dense += elements
        if seen is None:
            layer.hits += elements
        else:
            layer.left.add(seen.operand)
            layer.hits += amount(seen.nonzero)
            layer.left_events += amount(seen.spikes)
        return layer


COUNTED: dict[str, Callable[..., None]] = {  # by the operation's name in torch.ops.aten
    "convolution": Operations.count_conv,
    "mm": Operations.count_matmul,
    "bmm": Operations.count_matmul,
    "addmm": Operations.count_addmm,
    "baddbmm": Operations.count_addmm,
    "mul": Operations.count_mul,
    "add": Operations.count_add,
    "sub": Operations.count_add,
    "sum": Operations.count_sum,
    "mean": Operations.count_sum,
    "max_pool2d_with_indices": Operations.count_pool,
    "max_pool2d": Operations.count_pool,
    "avg_pool2d": Operations.count_pool,
    "_adaptive_avg_pool2d": Operations.count_global_pool,
    "_native_batch_norm_legit_no_training": Operations.count_norm,
    "native_batch_norm": Operations.count_norm,
    "cudnn_batch_norm": Operations.count_norm,
    "_scaled_dot_product_flash_attention_for_cpu": Operations.count_sdpa,
    "_scaled_dot_product_flash_attention": Operations.count_sdpa,
    "_scaled_dot_product_efficient_attention": Operations.count_sdpa,
    "_scaled_dot_product_cudnn_attention": Operations.count_sdpa,
}
IN_PLACE = {f"{name}_": COUNTED[name] for name in ("add", "mul", "sub")}


def _version(x: Tensor) -> int:
    return 0 if x.is_inference() else x._version
