"""Counting what a model computes, from outside: hooks say where, a dispatch mode sees every operation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from spikeformers.analysis.fan_out import coincidences, conv_fan_out, meetings, spread
from spikeformers.analysis.neuron_activity import NeuronActivity, is_neuron, leaks, steps_of, units_of
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


class Counter(TorchDispatchMode):
    """Counts every operation of a model while its `with` block runs; the model computes what it always does.

    What is compiled runs as it is written meanwhile, in the model's own precision. Of a part that folds into a single
    convolution at inference (`RepConv`) that convolution is counted. Within a neuron nothing is counted but its update.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model
        self.layers: dict[tuple[str, str], Layer] = {}
        self.activity: dict[str, NeuronActivity] = {}
        self.units = units_of(model)
        self.samples = 0
        self._weights = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers()) if t.numel()}
        self._chains = {m: _folded_shape(m) for m in model.modules() if _is_chain(m)}
        self._stack: list[tuple[str, nn.Module]] = []
        self._ordinals: list[defaultdict[str, int]] = []
        self._quiet = 0  # depth of modules in which nothing is to be counted
        self._fired = False
        self._sources: list[dict[int, str]] = []
        self._last: tuple[Tensor, int, Seen] | None = None
        self._bias: tuple[int, str, int] | None = None
        self._last_product: str | None = None

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here, and PyTorch's guard against it costs more than the counting

    # ---- around a batch

    @contextmanager
    def batch(self, samples: int) -> Iterator[None]:
        """One call of the model with so many samples."""
        self.samples += samples
        self._in_batch, self._fired, self._last_product = samples, False, None
        for activity in self.activity.values():
            activity.begin()
        with ExitStack() as on:
            for name, module in self.model.named_modules():
                on.callback(module.register_forward_pre_hook(self._enter(name)).remove)
                on.callback(module.register_forward_hook(self._leave, always_call=True).remove)
            if any(m._compiled_call_impl is not None for m in self.model.modules()) or hasattr(self.model, "_orig_mod"):
                on.enter_context(torch.compiler.set_stance("force_eager"))
            on.enter_context(torch.autocast(_device(self.model), enabled=False))
            on.enter_context(_no_fast_path())
            on.enter_context(torch.no_grad())
            on.enter_context(self)
            yield
        self._bias = self._last = None
        self._name_classifier()

    def _enter(self, name: str) -> Callable[[nn.Module, Any], None]:
        def enter(module: nn.Module, inputs: Any) -> None:
            self._stack.append((name, module))
            self._ordinals.append(defaultdict(int))
            self._sources.append({})
            opaque = is_neuron(module) or module in self._chains
            if opaque and not self._quiet:
                self.__exit__(None, None, None)  # nothing inside is seen, and nothing slows down
                if module in self._chains:
                    self._count_chain(inputs[0], *self._chains[module])
            self._quiet += self._quiet > 0 or opaque

        return enter

    def _leave(self, module: nn.Module, inputs: Any, output: Any) -> None:
        name, _ = self._stack.pop()
        self._ordinals.pop()
        self._sources.pop()
        if not self._quiet:
            return
        self._quiet -= 1
        if self._quiet:
            return
        if is_neuron(module) and isinstance(output, Tensor):
            self._count_neuron(name, module, output)
            if self._sources:
                self._sources[-1][output.untyped_storage().data_ptr()] = name.rpartition(".")[2].removesuffix("_neuron")
        self.__enter__()

    # ---- what happens inside

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        if not self._stack:
            return output
        name = func.overloadpacket.__name__
        if count := _COUNTED.get(name.removesuffix("_") if name in ("add_", "mul_", "sub_") else name):
            count(self, output, args, kwargs or {})
        return output

    def _layer(self, op: str) -> Layer:
        name, module = self._stack[-1]
        self._ordinals[-1][op] += 1
        ordinal = self._ordinals[-1][op]
        own = "" if op in ("convolution", "linear") and ordinal == 1 else op if op == "bias" else f"{op}{ordinal}"
        label = ".".join(filter(None, (name, own)))
        if (layer := self.layers.get((label, op))) is None:
            layer = self.layers[label, op] = Layer(label, op, attention=hasattr(module, "attn_neuron"))
        return layer

    def _look(self, x: Tensor) -> Seen:
        if self._last is not None:  # q, k and v read the same
            known, version, seen = self._last
            same = known.data_ptr() == x.data_ptr() and known.shape == x.shape and known.stride() == x.stride()
            if same and version == x._version and known.dtype == x.dtype:
                return seen
        seen = look(x, self.units)
        self._last = (x, x._version, seen)
        return seen

    def _is_weight(self, x: Any) -> bool:
        return not isinstance(x, Tensor) or x.ndim == 0 or x.untyped_storage().data_ptr() in self._weights

    def _source(self, x: Tensor) -> str:
        pointer = x.untyped_storage().data_ptr()
        return next((known[pointer] for known in reversed(self._sources) if pointer in known), "")

    def _with_weights(
        self, op: str, seen: Seen, macs: int, dense: int, spread_of: Callable[[Tensor], int], rows: int
    ) -> None:
        layer = self._layer(op)
        layer.left.add(seen.operand)
        layer.macs += macs
        layer.dense += dense
        hits = spread_of(seen.nonzero)
        layer.hits += hits
        layer.left_events += hits if seen.counts is None else spread_of(seen.counts)
        layer.shown = max(layer.shown, rows // max(self._in_batch, 1))
        if not self._fired and (layer.role or not any(known.role for known in self.layers.values())):
            layer.role = "first"
        self._last_product = layer.name

    def _count_conv(self, y: Tensor, args: Any, kwargs: Any) -> None:
        x, weight, bias, stride, padding, dilation, transposed, _, groups = args
        channels, axes = conv_fan_out(x.shape, weight.shape, y.shape, stride, padding, dilation, transposed, groups)
        taps = prod(weight.shape[2:])
        macs = x.numel() * channels * taps if transposed else y.numel() * weight.shape[1] * taps
        dense = x.shape[0] * x.shape[1] * channels * prod(map(sum, axes))
        self._with_weights("convolution", self._look(x), macs, dense, lambda a: spread(a, channels, axes), len(x))
        self._count_bias(y, bias)

    def _count_chain(self, x: Tensor, channels: int, kernel: int, in_channels: int) -> None:
        flat = x.reshape(-1, *x.shape[-3:])
        shape = (channels, in_channels, kernel, kernel)
        pad = kernel // 2
        reach, axes = conv_fan_out(flat.shape, shape, flat.shape, (1,), (pad,), (1,), False, 1)
        outputs = flat.numel() // in_channels * channels
        macs = outputs * in_channels * kernel**2
        dense = len(flat) * in_channels * reach * prod(map(sum, axes))
        self._with_weights("convolution", self._look(flat), macs, dense, lambda a: spread(a, reach, axes), len(flat))
        self._add("bias", outputs)

    def _count_matmul(self, y: Tensor, args: Any, kwargs: Any) -> None:
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

    def _count_addmm(self, y: Tensor, args: Any, kwargs: Any) -> None:
        bias, left, right = args
        self._count_matmul(y, (left, right), {})
        self._count_bias(y, bias)

    def _count_sdpa(self, output: Any, args: Any, kwargs: Any) -> None:
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
        layer = self._layer(op)
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

    def _count_mul(self, y: Tensor, args: Any, kwargs: Any) -> None:
        left, right = args[:2]
        if self._is_weight(left) or self._is_weight(right):
            return
        a, b = look(left, self.units), look(right, self.units)
        # a real number a channel or a head is a constant, which folds into weights
        if any(s.operand.unit is None and s.operand.elements < y.numel() for s in (a, b)):
            return
        self._two_sided("mask", a, b, left, right, y.numel(), coincidences)

    def _count_add(self, y: Tensor, args: Any, kwargs: Any) -> None:
        left, right = args[:2]
        if self._is_weight(left) or self._is_weight(right) or left.numel() != right.numel():
            return
        self._add("add", y.numel()).hits -= y.numel() - int(torch.logical_and(left, right).count_nonzero())

    def _count_sum(self, y: Tensor, args: Any, kwargs: Any) -> None:
        if not isinstance(args[0], Tensor) or self._is_weight(args[0]):
            return
        layer = self._add("sum", args[0].numel(), look(args[0], self.units))
        layer.sides = (self._source(args[0]), "")

    def _count_pool(self, y: Any, args: Any, kwargs: Any) -> None:
        x, kernel, stride, padding = [*args, (), ()][:4]
        kernel, shape = (1, 1, *kernel), y[0].shape if isinstance(y, tuple) else y.shape
        _, axes = conv_fan_out(x.shape, kernel, shape, stride or kernel[2:], padding or (0,), (1,), False, 1)
        self._add("pool", y[0].numel() * prod(kernel), look(x, self.units), lambda amount: spread(amount, 1, axes))

    def _count_global_pool(self, y: Any, args: Any, kwargs: Any) -> None:
        self._add("pool", args[0].numel(), look(args[0], self.units))

    def _count_norm(self, y: Any, args: Any, kwargs: Any) -> None:
        x, y = args[0], y[0] if isinstance(y, tuple) else y
        if self._bias is not None and self._bias[0] == x.data_ptr():  # folded, the two are one
            _, name, outputs = self._bias
            layer = self.layers[name, "bias"]
            layer.hits, layer.macs, layer.dense = layer.hits - outputs, layer.macs - outputs, layer.dense - outputs
        self._bias = None
        self._add("bias", y.numel())

    def _count_bias(self, y: Tensor, bias: Any) -> None:
        self._bias = None
        if bias is not None:
            layer = self._add("bias", y.numel())
            self._bias = (y.data_ptr(), layer.name, y.numel())

    def _add(self, op: str, elements: int, seen: Seen | None = None, amount: Callable[[Tensor], int] = total) -> Layer:
        layer = self._layer(op)
        layer.macs += elements
        layer.dense += elements
        if seen is None:
            layer.hits += elements
        else:
            layer.left.add(seen.operand)
            layer.hits += amount(seen.nonzero)
            layer.left_events += amount(seen.spikes)
        return layer

    def _count_neuron(self, name: str, neuron: nn.Module, spikes: Tensor) -> None:
        self._fired = True
        activity = self.activity.get(name)
        if activity is None:
            activity = self.activity[name] = NeuronActivity(name, type(neuron).__name__)
        layer = self.layers.setdefault((name, "neuron"), Layer(name, "neuron", leaks=leaks(neuron)))
        fired = activity.add(spikes, steps_of(neuron, spikes), self._in_batch)
        layer.left.add(Operand(spikes.numel(), fired, fired, most=int(fired > 0)))
        layer.macs += spikes.numel()
        layer.dense += spikes.numel()
        layer.hits += spikes.numel()

    def _name_classifier(self) -> None:
        head = getattr(self.model, "head", None)
        names = getattr(head, "classifiers", None)
        last = {f"head.{name}" for name in names} if names else {self._last_product}
        for layer in self.layers.values():
            if layer.name in last and not layer.role:
                layer.role = "classifier"


_COUNTED: dict[str, Callable[..., None]] = {
    "convolution": Counter._count_conv,
    "mm": Counter._count_matmul,
    "bmm": Counter._count_matmul,
    "addmm": Counter._count_addmm,
    "baddbmm": Counter._count_addmm,
    "mul": Counter._count_mul,
    "add": Counter._count_add,
    "sub": Counter._count_add,
    "sum": Counter._count_sum,
    "mean": Counter._count_sum,
    "max_pool2d_with_indices": Counter._count_pool,
    "max_pool2d": Counter._count_pool,
    "avg_pool2d": Counter._count_pool,
    "_adaptive_avg_pool2d": Counter._count_global_pool,
    "_native_batch_norm_legit_no_training": Counter._count_norm,
    "native_batch_norm": Counter._count_norm,
    "cudnn_batch_norm": Counter._count_norm,
    "_scaled_dot_product_flash_attention_for_cpu": Counter._count_sdpa,
    "_scaled_dot_product_flash_attention": Counter._count_sdpa,
    "_scaled_dot_product_efficient_attention": Counter._count_sdpa,
    "_scaled_dot_product_cudnn_attention": Counter._count_sdpa,
}


def _is_chain(module: nn.Module) -> bool:
    """Whether a part is several linear layers that fold into one at inference."""
    return hasattr(module, "folded") and sum(isinstance(m, nn.Conv2d) for m in module.modules()) > 1


def _folded_shape(module: Any) -> tuple[int, int, int]:
    """Output channels, kernel size and input channels of the convolution that a chain folds into."""
    conv = deepcopy(module).folded().conv
    return conv.out_channels, conv.kernel_size[0], conv.in_channels


def _device(model: nn.Module) -> str:
    return next((p.device.type for p in model.parameters()), "cpu")


@contextmanager
def _no_fast_path() -> Iterator[None]:
    """PyTorch's own transformer layers run operation by operation meanwhile."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
