"""Energy with memory: what weights, membranes and spikes cost to move, and the dense network of equal precision."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from math import ceil, log2
from typing import Any

from spikeformers.analysis.counted_layer import Layer
from spikeformers.analysis.operands import Operand
from spikeformers.analysis.strict_count import strict_count
from spikeformers.ops.arguments import is_finite

_WITH_WEIGHTS = ("convolution", "linear")
_TWO_SIDED = ("product", "mask")


@dataclass(frozen=True)
class Memory:
    """Where numbers are kept, what moving them costs, and how many bits they have.

    Costs are those of 45 nm from Horowitz, ISSCC 2014: 10, 20 and 100 pJ for 64 bits from a cache of 8 KB, 32 KB and
    1 MB, at least 1.3 nJ from DRAM, 0.2 pJ for an 8-bit multiplication and 0.1 pJ for a 32-bit addition. Bits and reuse
    are our choice.

    Attributes:
        buffers: sizes in bytes and picojoules per byte, the smallest first.
        dram: picojoules per byte for what fits into no buffer, and for the weights, which are read once per input.
        weight_bits: bits of a weight in both networks, in layers whose quantizer declares none.
        membrane_bits: bits of a membrane.
        real_bits: bits of an activation that is not spikes, such as the image.
        multiply: picojoules of a multiplication of 8 by 8 bits; others cost in proportion to the product of the bits.
        add: picojoules of an addition.
        reuse: multiplications of the dense network that share one read of a weight.
    """

    buffers: tuple[tuple[float, float], ...] = ((8 * 2**10, 1.25), (32 * 2**10, 2.5), (2**20, 12.5))
    dram: float = 162.5
    weight_bits: float = 8
    membrane_bits: float = 16
    real_bits: float = 8
    multiply: float = 0.2
    add: float = 0.1
    reuse: float = 1

    def __post_init__(self) -> None:
        for name in (f.name for f in fields(self) if f.name != "buffers"):
            value, least = getattr(self, name), 1 if name == "reuse" else 0
            if not is_finite(value):
                raise ValueError(f"memory {name} {value} is not a finite number: give {least} or more")
            if value < least:
                raise ValueError(f"memory {name} {value} is below {least}: give {least} or more")
        numbers = [number for buffer in self.buffers for number in buffer]
        fine = numbers and all(is_finite(number) and number >= 0 for number in numbers)
        if not fine or [*self.buffers] != sorted(self.buffers):
            raise ValueError(f"memory buffers {self.buffers} are not (bytes, pJ per byte), the smallest first")

    @property
    def local(self) -> float:
        """Picojoules per byte of the smallest buffer, from which operations read."""
        return self.buffers[0][1]

    def at(self, size: float) -> float:
        """Picojoules per byte of the smallest memory that holds this many bytes."""
        return next((cost for room, cost in self.buffers if size <= room), self.dram)

    def moving(self, bits: float) -> float:
        """Picojoules to write or read that many bits, in the smallest memory that holds them."""
        return bits / 8 * self.at(bits / 8)

    def product(self, left_bits: float, right_bits: float) -> float:
        """Picojoules of a multiply-accumulate."""
        return self.multiply * left_bits * right_bits / 64 + self.add

    def describe(self) -> dict[str, Any]:
        """Plain numbers, for JSON."""
        return asdict(self)


MEMORY = Memory()


@dataclass
class Bill:
    """Picojoules of some inputs: with every spike (`spiking`), and whatever happens (`fixed`)."""

    spiking: float = 0.0
    fixed: float = 0.0
    moved: float = 0.0  # of both: what is no arithmetic

    def add(self, picojoules: float, *, spiking: bool = False, moved: bool = False) -> None:
        if spiking:
            self.spiking += picojoules
        else:
            self.fixed += picojoules
        self.moved += picojoules if moved else 0.0


@dataclass(frozen=True)
class Twin:
    """The quantised dense network: activations of `bits` in place of neurons, one pass, every product computed.

    Attributes:
        bits: bits of an activation, enough for the spike count over all steps: log2(T D + 1), rounded up; a ternary
            neuron has D = 2. In a network without neurons they are `Memory.real_bits`.
        macs: multiply-accumulates of one input.
        millijoules: its energy for one input, arithmetic and memory.
        moved: the part of it that is memory, in mJ.
        rate: mean firing rate of the spiking network: the share of its products with spikes that happen.
        break_even: the rate at which both cost the same if all layers' rates change in proportion, or None if the
            spiking network costs more even without a spike.
    """

    bits: float
    macs: float
    millijoules: float
    moved: float
    rate: float
    break_even: float | None

    def describe(self) -> dict[str, Any]:
        """Plain numbers, for JSON."""
        return asdict(self)


def spiking_bill(layers: Iterable[Layer], samples: int, steps: int, memory: Memory = MEMORY) -> Bill:
    """The cost of one input by the convention `memory`; `docs/energy.md` states the rules."""
    bill = Bill()
    for layer in layers:
        ac, mac = (count / samples for count in strict_count(layer))
        with_spikes = layer.op in (*_WITH_WEIGHTS, *_TWO_SIDED, "scale") and not mac
        weight_bits = layer.weight_bits or memory.weight_bits
        bill.add(ac * memory.add + mac * memory.product(memory.real_bits, weight_bits), spiking=with_spikes)
        if layer.op in _WITH_WEIGHTS:
            bill.add(layer.weights * weight_bits / 8 * memory.dram, moved=True)
            each = weight_bits / 8 * memory.local
            bill.add(layer.hits / samples * each, spiking=with_spikes, moved=True)
            _move_spikes(bill, layer.left, _bits_of(layer.left, memory), samples, steps, memory)
        elif layer.op in _TWO_SIDED and layer.right is not None:
            bits = sorted(_bits_of(side, memory) for side in (layer.left, layer.right))
            bill.add(layer.hits / samples * bits[-1] / 8 * memory.local, spiking=with_spikes, moved=True)
            for side in (layer.left, layer.right):
                _move_spikes(bill, side, _bits_of(side, memory), samples, steps, memory)
        elif layer.op == "neuron":
            _move_spikes(bill, layer.left, ceil(log2(layer.levels)), samples, steps, memory)
            membranes = layer.left.elements / samples / layer.passes * memory.membrane_bits / 8
            bill.add(2 * (layer.passes - 1) * membranes * memory.local if layer.membrane else 0, moved=True)
    return bill


def _move_spikes(bill: Bill, side: Operand, bits: float, samples: int, steps: int, memory: Memory) -> None:
    """A tensor moves once: as bits of all its numbers, or as addresses of its spikes, whichever costs less."""
    elements, spikes = side.elements / samples, side.nonzeros / samples
    address = ceil(log2(max(elements / steps, 2))) + (bits if bits > 1 else 0)
    dense, sparse = memory.moving(elements * bits), memory.moving(spikes * address)
    bill.add(min(dense, sparse), spiking=sparse < dense, moved=True)


def dense_twin(layers: Sequence[Layer], samples: int, steps: int, memory: Memory = MEMORY) -> Twin:
    """The dense network of the same layers, with activations as fine as the counts of spikes over all steps."""
    bill, macs = Bill(), 0.0
    most = [layer.levels - 1 for layer in layers if layer.op == "neuron"]
    bits = ceil(log2(steps * max(most) + 1)) if most else memory.real_bits  # without neurons it quantises real numbers

    def of(side: Operand) -> float:
        levels = steps * max(side.most, 1) * (2 if side.negative else 1) + 1
        return memory.real_bits if side.kind == "real" else ceil(log2(levels))

    for layer in layers:
        if layer.op in _WITH_WEIGHTS or (layer.op in _TWO_SIDED and layer.right is not None):
            each, left = layer.dense / samples / layer.passes, of(layer.left)
            weight_bits = layer.weight_bits or memory.weight_bits
            right = weight_bits if layer.right is None else of(layer.right)
            macs += each
            bill.add(each * memory.product(left, right))
            bill.add(each * right / 8 * memory.local / memory.reuse, moved=True)
            bill.add(layer.weights * weight_bits / 8 * memory.dram, moved=True)
            bill.add(memory.moving(layer.left.elements / samples / layer.passes * left), moved=True)
            if layer.right is not None:
                bill.add(memory.moving(layer.right.elements / samples / layer.passes * right), moved=True)
        elif layer.op == "neuron":
            each = layer.left.elements / samples / layer.passes
            bill.add(each * memory.product(bits, memory.weight_bits))  # scaled and rounded
            bill.add(memory.moving(each * bits), moved=True)
        elif layer.op in ("add", "bias", "sum", "scan", "pool", "compare", "select"):
            bill.add(layer.dense / samples / layer.passes * memory.add)
        elif layer.op in ("division", "function", "scale"):
            bill.add(layer.dense / samples / layer.passes * memory.product(bits, memory.weight_bits))
    own = spiking_bill(layers, samples, steps, memory)
    rate, left = mean_rate(layers), bill.fixed - own.fixed
    even = rate * left / own.spiking if left >= 0 and own.spiking else None
    return Twin(bits, macs, bill.fixed * 1e-9, bill.moved * 1e-9, rate, even)


def mean_rate(layers: Iterable[Layer]) -> float:
    """The share of products with spikes that happen: the firing rate that counts, over all layers."""
    hits = dense = 0
    for layer in layers:
        sides = [side for side in (layer.left, layer.right) if side is not None]
        if layer.op in (*_WITH_WEIGHTS, *_TWO_SIDED) and any(side.kind != "real" for side in sides):
            hits, dense = hits + layer.hits, dense + layer.dense
    return hits / dense if dense else 0.0


def _bits_of(side: Operand, memory: Memory) -> float:
    if side.kind == "real":
        return memory.real_bits
    return ceil(log2(side.most + 1)) + side.negative if side.most else 1


def parse_memory(text: str | None) -> Memory:
    """Settings as a command line has them: `dram=325,weight_bits=4`. Raises ValueError for others."""
    known = [f.name for f in fields(Memory) if f.name != "buffers"]
    settings: dict[str, float] = {}
    for word in (text or "").split(","):
        name, _, value = (part.strip() for part in word.partition("="))
        if not word.strip():
            continue
        try:
            settings[name] = float(value)
        except ValueError:
            settings[name] = float("nan")
        if name not in known or settings[name] != settings[name]:
            raise ValueError(
                f"--memory {word.strip()} is not a setting: give numbers, such as dram=325, for {', '.join(known)}"
            )
    return replace(MEMORY, **settings)
