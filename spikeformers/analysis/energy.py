"""Energy by the conventions of the papers, which differ, and by a strict one. `docs/energy.md` tells them apart."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from spikeformers.analysis.operands import Operand
from spikeformers.analysis.synaptic_ops import Layer


@dataclass(frozen=True)
class Costs:
    """Picojoules an operation: a multiplication with its addition, and an addition alone.

    The default is 32-bit floating point in 45 nm, of Horowitz, ISSCC 2014, which the papers use.
    """

    mac: float = 4.6
    ac: float = 0.9

    def __post_init__(self) -> None:
        if self.mac < 0 or self.ac < 0:
            raise ValueError(f"costs of {self.mac} and {self.ac} pJ are not both 0 or more")

    def millijoules(self, ac: float, mac: float) -> float:
        """Energy of so many operations: `Costs().millijoules(12.514e9, 0.521e9)` is 13.66."""
        return (self.ac * ac + self.mac * mac) * 1e-9


HOROWITZ = Costs()


@dataclass(frozen=True)
class Energy:
    """What one sample costs by a convention: accumulations, multiply-accumulates and mJ."""

    convention: str
    ac: float
    mac: float
    costs: Costs

    @property
    def millijoules(self) -> float:
        return self.costs.millijoules(self.ac, self.mac)


Operations = tuple[float, float]  # AC, MAC


@dataclass(frozen=True)
class Convention:
    """A way of counting: what it makes of one layer, in a sentence or two, and the paper it is from."""

    name: str
    says: str
    paper: str
    count: Callable[[Layer], Operations]

    def energy(self, layers: Iterable[Layer], samples: int, costs: Costs = HOROWITZ) -> Energy:
        """What one of `samples` costs on average."""
        counted = [self.count(layer) for layer in layers]
        ac, mac = (sum(column) / samples for column in zip(*counted, strict=True)) if counted else (0.0, 0.0)
        return Energy(self.name, ac, mac, costs)


_WITH_WEIGHTS = ("convolution", "linear")


def _by_rate(layer: Layer, rate: Callable[[Operand], float]) -> float | None:
    """FLOPs times firing rate; of two sides with spikes the lower rate; None where neither has spikes."""
    rates = [rate(side) for side in (layer.left, layer.right) if side is not None and side.kind != "real"]
    return min(rates) * layer.macs if rates else None


def _attention_masks(layer: Layer, rate: Callable[[Operand], float]) -> Operations:
    """Masks and column sums inside attention, whose cost is that of the numbers they let pass."""
    spiking = layer.left.kind != "real"
    return (rate(layer.left) * layer.macs, 0) if layer.attention and layer.op in ("mask", "sum") and spiking else (0, 0)


def _mean_value(side: Operand) -> float:
    return side.spikes * (side.unit or 0) / max(side.elements, 1)


def _mean_count(side: Operand) -> float:
    return side.spikes / max(side.elements, 1)


def _share(side: Operand) -> float:
    return side.rate


def _once(layer: Layer) -> float:
    return layer.macs / layer.shown


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
    binary = [side.rate for side in (layer.left, layer.right) if side is not None and side.kind == "binary"]
    if binary:
        return min(binary) * layer.macs, 0
    return 0, _once(layer) if layer.role == "classifier" else layer.macs


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


def _strict(layer: Layer) -> Operations:
    if layer.op == "neuron":
        resets = layer.left.nonzeros if layer.resets else 0
        times = layer.multiplications
        return (resets, times * layer.hits) if times else (resets + layer.hits, 0)
    if layer.op in ("add", "bias", "sum", "scan", "pool", "compare", "select"):
        return layer.hits, 0
    if layer.op in ("division", "function", "unknown"):
        return 0, layer.hits
    events = [
        events
        for side, events in ((layer.left, layer.left_events), (layer.right, layer.right_events))
        if side is not None and side.kind != "real"
    ]
    return (min(events), 0) if events else (0, layer.hits)


CONVENTIONS = {
    convention.name: convention
    for convention in (
        Convention(
            "spikformer",
            "FLOPs x firing rate (the mean value of what comes in) are additions, whatever the spikes add up to; the "
            "first convolution of an image is multiplied once, not T times.",
            "arXiv:2209.15425",
            _spikformer,
        ),
        Convention(
            "sdt",
            "FLOPs x the share of inputs that are not 0 are additions; the first convolution is multiplied at every "
            "step; masks and column sums cost what they let pass.",
            "arXiv:2307.01694",
            _sdt,
        ),
        Convention(
            "spikingformer",
            "Additions only where the input is exactly 0 or 1; all else, counts of spikes too, is multiplied in full.",
            "arXiv:2304.11954",
            _spikingformer,
        ),
        Convention(
            "spikingresformer",
            "Synaptic operations that take place, padding left out; stem and classifier are not counted.",
            "arXiv:2403.14302",
            _spikingresformer,
        ),
        Convention(
            "integer",
            "A count of up to D is D sub-steps of binary spikes: T x D x normalised firing rate x FLOPs additions.",
            "arXiv:2411.16061",
            _integer,
        ),
        Convention(
            "strict",
            "All that a digital neuromorphic core would do: each spike at each synapse it reaches, products of spikes "
            "where both sides fire, masks, sums, pools, adds, comparisons, biases of folded norms and neuron updates; "
            "real numbers that are multiplied, divided or put into functions such as exp are multiplications.",
            "ours",
            _strict,
        ),
    )
}


def find_convention(name: str) -> Convention:
    """A convention by name. Raises ValueError for another."""
    if name not in CONVENTIONS:
        raise ValueError(f"there is no energy convention {name!r}: choose of {', '.join(CONVENTIONS)}")
    return CONVENTIONS[name]
