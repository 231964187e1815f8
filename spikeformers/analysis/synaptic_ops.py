"""The layers of a model, and what each of its operations did."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor, nn

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
    multiplications: int = 0  # of a neuron's update
    resets: bool = True  # of a neuron: whether a spike changes its membrane
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
    """The layers of a model, each with what its operations did; `stack` is where in the model it is at the moment."""

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
        self.bias: tuple[int, Layer, int] | None = None  # the last: where its sum lies, its layer, its size

    def begin(self, samples: int) -> None:
        """A new batch."""
        self.in_batch, self.fired, self.last_product = samples, False, None
        self.bias = self._last = None

    def layer(self, op: str) -> Layer:
        """The layer of the operation that is being done: its module's name, and which of the module's it is."""
        place = self.stack[-1]
        place.done[op] += 1
        first = place.done[op] == 1
        own = "" if op in ("convolution", "linear") and first else op if op == "bias" else f"{op}{place.done[op]}"
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
        """Whether `x` is a constant at inference: the model's own, or a number."""
        return not isinstance(x, Tensor) or x.ndim == 0 or x.untyped_storage().data_ptr() in self._weights

    def source(self, x: Tensor) -> str:
        """The neuron whose spikes `x` is, where a module around has one."""
        pointer = x.untyped_storage().data_ptr()
        return next((place.sources[pointer] for place in reversed(self.stack) if pointer in place.sources), "")

    def with_weights(
        self, op: str, seen: Seen, macs: int, dense: int, spread_of: Callable[[Tensor], int], rows: int
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
        return layer

    def add(self, op: str, elements: int, seen: Seen | None = None, amount: Callable[[Tensor], int] = total) -> Layer:
        """Adds what is neither: so many elements, each of them a hit where what is `seen` is not given."""
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


def _version(x: Tensor) -> int:
    return 0 if x.is_inference() else x._version
