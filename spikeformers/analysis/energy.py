"""Energy by the conventions of the papers, which differ, and by a strict one. `docs/energy.md` explains each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from spikeformers.analysis.counted_layer import Layer
from spikeformers.analysis.memory_energy import MEMORY, Memory, spiking_bill
from spikeformers.analysis.operands import Operand
from spikeformers.analysis.strict_count import strict_count
from spikeformers.ops.arguments import is_finite


@dataclass(frozen=True)
class Costs:
    """Picojoules per operation.

    The defaults are for 32-bit floating point in 45 nm, from Horowitz, ISSCC 2014, as in the papers.

    Attributes:
        mac: a multiply-accumulate.
        ac: an accumulate, an addition alone.
    """

    mac: float = 4.6
    ac: float = 0.9

    def __post_init__(self) -> None:
        if not all(is_finite(cost) and cost >= 0 for cost in (self.mac, self.ac)):
            raise ValueError(
                f"costs of {self.mac} and {self.ac} pJ are not both finite and 0 or more: give two such numbers"
            )

    def millijoules(self, ac: float, mac: float) -> float:
        """Energy of this number of operations: `Costs().millijoules(12.514e9, 0.521e9)` is 13.66."""
        return (self.ac * ac + self.mac * mac) * 1e-9


HOROWITZ = Costs()


@dataclass(frozen=True)
class Energy:
    """The cost of one sample by a convention: accumulates, multiply-accumulates and mJ."""

    convention: str
    ac: float
    mac: float
    costs: Costs
    with_memory: float | None = None  # mJ, by the convention `memory`, which has costs of its own

    @property
    def millijoules(self) -> float:
        return self.costs.millijoules(self.ac, self.mac) if self.with_memory is None else self.with_memory


Operations = tuple[float, float]  # AC, MAC


@dataclass(frozen=True)
class Convention:
    """A way of counting energy.

    Attributes:
        name: its name.
        says: what it counts, in a sentence or two.
        paper: where it comes from.
        count: the accumulates and multiply-accumulates of one layer, over all samples.
    """

    name: str
    says: str
    paper: str
    count: Callable[[Layer], Operations]

    def energy(
        self,
        layers: Sequence[Layer],
        samples: int,
        costs: Costs = HOROWITZ,
        *,
        steps: int = 1,
        memory: Memory = MEMORY,
    ) -> Energy:
        """The mean cost of one sample of `samples`. Only the convention `memory` uses `steps` and `memory`."""
        counted = [self.count(layer) for layer in layers]
        ac, mac = (sum(column) / samples for column in zip(*counted, strict=True)) if counted else (0.0, 0.0)
        if self.name != "memory":
            return Energy(self.name, ac, mac, costs)
        bill = spiking_bill(layers, samples, steps, memory)
        return Energy(self.name, ac, mac, costs, (bill.spiking + bill.fixed) * 1e-9)


_WITH_WEIGHTS = ("convolution", "linear")


def _by_rate(layer: Layer, rate: Callable[[Operand], float]) -> float | None:
    """FLOPs times firing rate, the lower one if both operands are spikes; None if neither is."""
    rates = [rate(side) for side in (layer.left, layer.right) if side is not None and side.kind != "real"]
    return min(rates) * layer.macs if rates else None


def _attention_masks(layer: Layer, rate: Callable[[Operand], float]) -> Operations:
    """Masks and column sums inside attention cost one addition per number that passes."""
    spiking = [side for side in (layer.left, layer.right) if side is not None and side.kind not in ("", "real")]
    if not (layer.attention and layer.op in ("mask", "sum") and spiking):
        return 0, 0
    weighed = min(rate(side) / side.rate if side.rate else 0.0 for side in spiking)  # the mean of nonzero numbers
    return weighed * layer.hits, 0


def _mean_value(side: Operand) -> float:
    return side.spikes * (side.unit or 0) / max(side.elements, 1)


def _mean_count(side: Operand) -> float:
    return side.spikes / max(side.elements, 1)


def _share(side: Operand) -> float:
    return side.rate


def _once(layer: Layer) -> float:
    return layer.macs / layer.passes if layer.repeated else layer.macs


def _rates_times_flops(layer: Layer, rate: Callable[[Operand], float], first: float) -> Operations:
    if layer.op not in (*_WITH_WEIGHTS, "product"):
        return _attention_masks(layer, rate)
    if layer.role == "first" and layer.left.kind == "real":
        return 0, first
    spikes = _by_rate(layer, rate)
    if spikes is None:
        return 0, _once(layer) if layer.role == "classifier" else layer.macs
    return spikes, 0


def _spikformer(layer: Layer) -> Operations:
    return _rates_times_flops(layer, _mean_value, _once(layer))


def _sdt(layer: Layer) -> Operations:
    return _rates_times_flops(layer, _share, layer.left.rate * layer.macs)


def _integer(layer: Layer) -> Operations:
    return _rates_times_flops(layer, _mean_count, _once(layer))


def _spikingformer(layer: Layer) -> Operations:
    if layer.op not in (*_WITH_WEIGHTS, "product"):
        return _attention_masks(layer, _share)
    sides, operations = [layer.left, layer.right], layer.macs + layer.biased
    if layer.linear:  # the script knows q (k^T v) alone
        sides, operations = [layer.left] if layer.keys is None else [layer.keys, layer.right], layer.linear
    if binary := [side.rate for side in sides if side is not None and side.kind == "binary"]:
        return min(binary) * operations, 0
    return 0, operations / layer.passes if layer.role == "classifier" else operations


def _spikingresformer(layer: Layer) -> Operations:
    if layer.role:
        return 0, 0
    if layer.op not in (*_WITH_WEIGHTS, "product"):
        return _attention_masks(layer, _share)
    left, right = layer.left.kind != "real", layer.right is not None and layer.right.kind != "real"
    if left and (right or layer.right is None):
        return layer.left_events, 0
    if side := layer.left if left else layer.right if right else None:
        return _mean_count(side) * layer.macs, 0
    return 0, layer.macs


CONVENTIONS = {
    convention.name: convention
    for convention in (
        Convention(
            "spikformer",
            "FLOPs x firing rate (the mean input) are additions, even if inputs are counts of spikes; the first "
            "convolution of a still image is counted once, as multiplications, not T times.",
            "arXiv:2209.15425",
            _spikformer,
        ),
        Convention(
            "sdt",
            "FLOPs x the share of nonzero inputs are additions; the first convolution is multiplied at every step; "
            "masks and column sums cost an addition per number that passes.",
            "arXiv:2307.01694",
            _sdt,
        ),
        Convention(
            "spikingformer",
            "Additions only if all inputs are 0 or 1; anything else, counts of spikes too, is multiplied in full. A "
            "bias is one more operation per output; attention costs N d^2 (min(k, v) + q), in either order.",
            "arXiv:2304.11954",
            _spikingformer,
        ),
        Convention(
            "spikingresformer",
            "Synaptic operations that actually happen, without padding; stem and classifier are not counted.",
            "arXiv:2403.14302",
            _spikingresformer,
        ),
        Convention(
            "integer",
            "A count up to D is D sub-steps of binary spikes: T x D x normalised firing rate x FLOPs additions.",
            "arXiv:2411.16061",
            _integer,
        ),
        Convention(
            "strict",
            "All that a digital neuromorphic core would do: each spike at each synapse it reaches, products of spikes "
            "where both sides fire, masks, sums, pooling, additions, comparisons, biases of folded norms and neuron "
            "updates. Products, divisions and functions such as exp of real numbers are multiplications.",
            "ours",
            strict_count,
        ),
        Convention(
            "memory",
            "The operations of strict as integers, and the traffic of weights, membranes and spikes at the cost of "
            "the smallest buffer that holds them.",
            "ours, after arXiv:2409.08290",
            strict_count,
        ),
    )
}


def find_convention(name: str) -> Convention:
    """A convention by name. Raises ValueError for an unknown name."""
    if name not in CONVENTIONS:
        raise ValueError(f"there is no energy convention {name!r}: choose from {', '.join(CONVENTIONS)}")
    return CONVENTIONS[name]
