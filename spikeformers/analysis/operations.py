"""Which operations count towards which layer of a model."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

from torch import Tensor, nn

from spikeformers.analysis.counted_layer import Layer
from spikeformers.analysis.neuron_activity import units_of
from spikeformers.analysis.operands import Operand, Seen, look, total
from spikeformers.analysis.origins import Origin, Origins
from spikeformers.layers.contracts import declared


@dataclass
class Place:
    """A module during its call, with the number of operations so far by label.

    `sources` are its direct child neurons by the memory address of their spikes, valid during the call.
    """

    name: str
    module: nn.Module
    shape: Sequence[int] = ()  # of its input
    done: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    sources: dict[int, str] = field(default_factory=dict)


class Operations:
    """The layers of a model with their counts. `stack` holds the modules that are being called."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.layers: dict[str, Layer] = {}
        self.units = units_of(model)
        self.stack: list[Place] = []
        self.in_batch = 0  # samples
        self.repeated = True  # whether the model's input is the same at every step
        self.fired = False  # whether any neuron was called in this batch
        self.last_product: str | None = None
        self.scores: tuple[Layer, Sequence[int], Operand] | None = None  # the last q k^T: its shape, k
        self.origins = Origins()
        self._factors: list[tuple[Origin, Origin | None, Layer, Layer]] = []  # constants, which may fold
        self._made: Counter[str] = Counter()  # uses of each layer's weights
        self._rows: Counter[tuple[str, int]] = Counter()  # of each layer in this batch, by the size of a call
        self._last: tuple[Tensor, int, Seen] | None = None
        self.steps: int | None = None  # of the model, if known
        self.once = False  # whether the current operation runs once, on a mean over time, not at every step

    def begin(self, samples: int, repeated: bool = True) -> None:
        """Begins a new batch."""
        self.in_batch, self.repeated, self.fired, self.last_product = samples, repeated, False, None
        self._last = self.scores = None
        self._factors.clear()
        self._made.clear()
        self._rows.clear()
        self.origins.clear()

    def layer(self, op: str, label: str = "") -> Layer:
        """The layer of the current operation, named after its module and, if needed, a label and a number."""
        place, label = self.stack[-1], label or op
        place.done[label] += 1
        first = place.done["convolution"] + place.done["linear"] == 1  # of either kind: a layer has one name
        own = "" if op in ("convolution", "linear") and first else op if op == "bias" else f"{label}{place.done[label]}"
        name = ".".join(filter(None, (place.name, own)))
        return self.layers.setdefault(name, Layer(name, op, attention=hasattr(place.module, "attn_neuron")))

    def look(self, x: Tensor) -> Seen:
        """Classifies `x`, with a cache for the last tensor."""
        if self._last is not None:  # q, k and v read the same one
            known, version, seen = self._last
            same = known.data_ptr() == x.data_ptr() and known.shape == x.shape and known.stride() == x.stride()
            if same and version == _version(x) and known.dtype == x.dtype:
                return seen
        seen = look(x, self.units)
        self._last = (x, _version(x), seen)
        return seen

    def is_weight(self, x: Any) -> bool:
        """Whether `x` is constant at inference: a parameter or buffer, computed from these alone, or a number."""
        return self.origins.of(x) is None

    def source(self, x: Tensor) -> str:
        """The neuron that emitted `x`, if an enclosing module has one, else ""."""
        pointer = x.untyped_storage().data_ptr()
        return next((place.sources[pointer] for place in reversed(self.stack) if pointer in place.sources), "")

    def with_weights(
        self,
        op: str,
        seen: Seen,
        macs: int,
        dense: int,
        spread_of: Callable[[Tensor], int],
        rows: int,
        weights: int,
        biased: int = 0,
    ) -> None:
        """Adds a product of `rows` rows with weights. `spread_of` counts the multiplications of given inputs."""
        layer = self.layer(op)
        layer.left.add(seen.operand)
        layer.macs += macs
        layer.dense += dense
        hits = spread_of(seen.nonzero)
        layer.hits += hits
        layer.left_events += hits if seen.counts is None else spread_of(seen.counts)
        # A loop over the steps calls it T times with one size, a head on a pyramid with a size for each level.
        self._rows[layer.name, macs] += rows
        passes = self._rows[layer.name, macs] // max(self.in_batch, 1)
        on_regions = any(
            declared(place.module, "on_regions") for place in self.stack
        )  # of which there may be any number
        layer.passes = 0 if on_regions else max(layer.passes, passes)
        layer.weights = max(layer.weights, weights)
        quantizer = declared(self.stack[-1].module, "quantizer")
        layer.weight_bits = 0 if quantizer is None else declared(quantizer, "bits") or 0
        layer.biased += biased
        if not self.fired and (layer.role or not any(known.role for known in self.layers.values())):
            layer.role = "first"
            layer.repeated &= self.repeated
        self.last_product = layer.name

    def rows_of(self, x: Tensor, rows: int) -> int:
        """The rows that `passes` counts, of a linear layer with so many: samples alone if its module reads `[B, N, C]`.

        The N tokens are no steps. `[T, B, C]` and `[T B, N, C]` have steps.
        """
        shape = self.stack[-1].shape
        known = len(shape) > 2 and prod(shape) == x.numel()
        return self.in_batch if known and shape[0] == self.in_batch != shape[1] else rows

    def two_sided(
        self, op: str, a: Seen, b: Seen, left: Tensor, right: Tensor, macs: int, meet: Callable[[Tensor, Tensor], int]
    ) -> Layer:
        """Adds a product of two activations. `meet` counts the multiplications of given numbers."""
        layer = self.layer(op)
        layer.passes = int(self.once)
        layer.left.add(a.operand)
        layer.right = layer.right or Operand()
        layer.right.add(b.operand)
        layer.macs += macs
        layer.dense += macs
        hits = meet(a.nonzero, b.nonzero)
        layer.hits += hits
        layer.left_events += hits if a.counts is None else meet(a.counts, b.nonzero)
        layer.right_events += hits if b.counts is None else meet(a.nonzero, b.counts)
        layer.sides = (self.source(left), self.source(right))
        if layer.sides == ("q", "k"):
            self.scores = (layer, (*left.shape, right.shape[-1]), b.operand)
        elif layer.sides == ("", "v") and self.scores is not None:
            self._in_linear_order(layer, right.shape[-1])
        return layer

    def _in_linear_order(self, values: Layer, value_width: int) -> None:
        """Adds what q (k^T v) would take to both layers of a (q k^T) v."""
        assert self.scores is not None
        scores, (*heads, queries, width, keys), k = self.scores
        for layer, tokens in ((scores, queries), (values, keys)):
            layer.linear += prod(heads) * tokens * width * value_width
        values.keys = values.keys or Operand()
        values.keys.add(k)
        self.scores = None

    def scale(self, x: Tensor, factor: Any, outputs: Sequence[int], result: Origin | None, real_parts: int = 1) -> None:
        """Adds a product of `x` with a constant, with shape `outputs`, unless it folds into weights or a threshold.

        This is decided later, in `settle_factors`, when all readers of `x` and of `result`, the product, are known.
        A complex product is several real ones, `real_parts`.
        """
        origin = self.origins.of(x)
        assert origin is not None
        seen, layer, size = self.look(x), self.layer("scale"), prod(outputs)
        layer.passes = int(self.once)
        there = factor.ne(0) if isinstance(factor, Tensor) else True
        hits, events = (real_parts * total(amount.expand(outputs) * there) for amount in (seen.nonzero, seen.spikes))
        size *= real_parts
        counted = Layer("", "scale", seen.operand, macs=size, dense=size, hits=hits, left_events=events)
        origin.is_scaled(prod(outputs))
        self._factors.append((origin, result, layer, counted))

    def made(self, maker: str, elements: int, biased: bool = False) -> Origin:
        """The origin of a product with a layer's weights."""
        self._made[maker] += 1
        return Origin(elements, affine=True, biased=biased, maker=maker)

    def settle_factors(self) -> None:
        """Counts the constant factors of the batch that do not fold. Call it when the batch is done."""
        makers = [
            {id(made): made.maker for made in origin.line() if made.maker} if origin.takes_a_factor() else None
            for origin, *_ in self._factors
        ]
        # weights used at every step absorb a factor only if it occurs at every step
        scaled = Counter({made: maker for known in makers if known for made, maker in known.items()}.values())
        for (_, result, layer, counted), known in zip(self._factors, makers, strict=True):
            taken = known is not None and all(scaled[maker] == self._made[maker] for maker in known.values())
            if not (taken or (result is not None and result.passes_a_factor())):
                layer.left.add(counted.left)
                for what in ("macs", "dense", "hits", "left_events"):
                    setattr(layer, what, getattr(layer, what) + getattr(counted, what))
        for layer in {id(layer): layer for _, _, layer, _ in self._factors}.values():
            if not layer.macs:
                del self.layers[layer.name]
        self._factors.clear()
        self._made.clear()

    def add(
        self,
        op: str,
        elements: int,
        seen: Seen | None = None,
        amount: Callable[[Tensor], int] = total,
        label: str = "",
    ) -> Layer:
        """Adds another operation on `elements` numbers. Without `seen`, its operand, every element is a hit."""
        layer = self.layer(op, label)
        layer.passes = int(self.once)
        layer.macs += elements
        layer.dense += elements
        if seen is None:
            layer.hits += elements
        else:
            layer.left.add(seen.operand)
            layer.hits += amount(seen.nonzero)
            layer.left_events += amount(seen.spikes)
        return layer


def _version(x: Tensor) -> int:
    return 0 if x.is_inference() else x._version
