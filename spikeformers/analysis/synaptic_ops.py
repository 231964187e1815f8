"""The layers of a model, and what each of its operations did."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from math import prod
from typing import Any

from torch import Tensor, nn

from spikeformers.analysis.neuron_activity import units_of
from spikeformers.analysis.operands import Operand, Seen, look, total
from spikeformers.analysis.origins import Origin, Origins


@dataclass
class Layer:
    """One operation of a model with all that it did, over any number of batches.

    `name` is the module that does it and, where that does several, which of them. `op` is `convolution`, `linear`,
    `product` (of two activations), `mask` (element by element), `scale` (by a constant that goes into no weights and no
    threshold), `division`, `function` (such as `exp`), `add`, `bias` (what a folded norm leaves), `sum`, `scan` (a
    running sum), `pool`, `compare`, `select` (by a condition), `neuron` (an update; `left` is what comes out) or
    `unknown`, an operation that is not counted. `right` is None where the other side is weights.
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
    biased: int = 0  # outputs that get a bias of the layer's own, before any norm is folded
    linear: int = 0  # of a product of (q k^T) v: the multiplications of q (k^T v) in its place
    keys: Operand | None = None  # k, of the second product of (q k^T) v
    shown: int = 1  # how often one sample passes: T, or 1 for what is done once
    multiplications: int = 0  # of a neuron's update
    resets: bool = True  # of a neuron: whether a spike changes its membrane
    sides: tuple[str, str] = ("", "")  # the neurons that the two sides come from, where they are known

    def describe(self) -> dict[str, Any]:
        """Plain numbers, for JSON."""
        sides = {key: getattr(self, key) for key in ("left", "right", "keys")}
        says = {key: value for key, value in asdict(self).items() if key not in sides}
        return {**says, **{key: side.describe() if side else None for key, side in sides.items()}}


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
    """The layers of a model, each with what its operations did; `stack` is where in the model it is at the moment."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.layers: dict[str, Layer] = {}
        self.units = units_of(model)
        self.stack: list[Place] = []
        self.in_batch = 0  # samples
        self.fired = False  # whether any neuron was called in this batch
        self.last_product: str | None = None
        self.scores: tuple[Layer, Sequence[int], Operand] | None = None  # the last q k^T: its shape, k
        self.origins = Origins()
        self._factors: list[tuple[Origin, Origin | None, Layer, Layer]] = []  # constant ones, which may disappear
        self._made: Counter[str] = Counter()  # how often the weights of a layer were used
        self._last: tuple[Tensor, int, Seen] | None = None
        self.bias: tuple[int, Layer, int] | None = None  # the last: where its sum lies, its layer, its size

    def begin(self, samples: int) -> None:
        """A new batch."""
        self.in_batch, self.fired, self.last_product = samples, False, None
        self.bias = self._last = self.scores = None
        self._factors.clear()
        self._made.clear()
        self.origins.clear()

    def layer(self, op: str, label: str = "") -> Layer:
        """The layer of the operation that is being done: its module's name, and which of the module's it is."""
        place, label = self.stack[-1], label or op
        place.done[label] += 1
        first = place.done[label] == 1
        own = "" if op in ("convolution", "linear") and first else op if op == "bias" else f"{label}{place.done[label]}"
        name = ".".join(filter(None, (place.name, own)))
        return self.layers.setdefault(name, Layer(name, op, attention=hasattr(place.module, "attn_neuron")))

    def look(self, x: Tensor) -> Seen:
        """What `x` holds; of the tensor that was looked at last it is known."""
        if self._last is not None:  # q, k and v read the same one
            known, version, seen = self._last
            same = known.data_ptr() == x.data_ptr() and known.shape == x.shape and known.stride() == x.stride()
            if same and version == _version(x) and known.dtype == x.dtype:
                return seen
        seen = look(x, self.units)
        self._last = (x, _version(x), seen)
        return seen

    def is_weight(self, x: Any) -> bool:
        """Whether `x` is a constant at inference: the model's own, what is made of that alone, or a number."""
        return self.origins.of(x) is None

    def source(self, x: Tensor) -> str:
        """The neuron whose spikes `x` is, where a module around has one."""
        pointer = x.untyped_storage().data_ptr()
        return next((place.sources[pointer] for place in reversed(self.stack) if pointer in place.sources), "")

    def with_weights(
        self, op: str, seen: Seen, macs: int, dense: int, spread_of: Callable[[Tensor], int], rows: int, biased: int = 0
    ) -> None:
        """Adds a product with weights, of `rows` rows; `spread_of` says how often numbers of the input are used."""
        layer = self.layer(op)
        layer.left.add(seen.operand)
        layer.macs += macs
        layer.dense += dense
        hits = spread_of(seen.nonzero)
        layer.hits += hits
        layer.left_events += hits if seen.counts is None else spread_of(seen.counts)
        layer.shown = max(layer.shown, rows // max(self.in_batch, 1))
        layer.biased += biased
        if not self.fired and (layer.role or not any(known.role for known in self.layers.values())):
            layer.role = "first"
        self.last_product = layer.name

    def two_sided(
        self, op: str, a: Seen, b: Seen, left: Tensor, right: Tensor, macs: int, meet: Callable[[Tensor, Tensor], int]
    ) -> Layer:
        """Adds a product of two activations; `meet` says how often numbers of both come together."""
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

    def scale(self, x: Tensor, factor: Any, outputs: Sequence[int], result: Origin | None) -> None:
        """Adds a product of `x` with a constant, of so many `outputs`, unless weights or a threshold take the factor.

        Which of them do shows once everything that reads `x` and `result`, the product's origin, has been called.
        """
        origin = self.origins.of(x)
        assert origin is not None
        seen, layer, size = self.look(x), self.layer("scale"), prod(outputs)
        there = factor.ne(0) if isinstance(factor, Tensor) else True
        hits, events = (total(amount.expand(outputs) * there) for amount in (seen.nonzero, seen.spikes))
        counted = Layer("", "scale", seen.operand, macs=size, dense=size, hits=hits, left_events=events)
        origin.is_scaled(size)
        self._factors.append((origin, result, layer, counted))

    def made(self, maker: str, elements: int, biased: bool = False) -> Origin:
        """The origin of what the weights of a layer made."""
        self._made[maker] += 1
        return Origin(elements, affine=True, biased=biased, maker=maker)

    def settle_factors(self) -> None:
        """Counts the constant factors of the batch that do not disappear; nothing more is called."""
        makers = [
            {id(made): made.maker for made in origin.line() if made.maker} if origin.takes_a_factor() else None
            for origin, *_ in self._factors
        ]
        # weights that are used at each step take a factor that is there at each
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
        """Adds what is neither: so many elements, each of them a hit where what is `seen` is not given."""
        layer = self.layer(op, label)
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
