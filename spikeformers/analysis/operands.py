"""What the tensors of a product hold: spikes, counts of spikes, or real numbers."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass
class Operand:
    """All that was seen on one side of a product, over any number of batches.

    A tensor is made of spikes where each of its numbers is a whole multiple of `unit`, what one spike is worth; the
    multiple is how many spikes it stands for. `unit` is None where none of the network's fits: then the numbers are
    real, `example` is one that is no multiple, and `spikes` means nothing.
    """

    elements: int = 0
    nonzeros: int = 0
    spikes: int = 0  # the sum of the multiples' magnitudes
    most: int = 0  # the largest of them
    negative: bool = False
    unit: float | None = 1.0
    example: float | None = None

    @property
    def kind(self) -> str:
        """`binary`, `ternary`, `integer` or `real`; spikes that are not worth 1 are `integer`."""
        if self.unit is None:
            return "real"
        if self.most > 1 or (self.unit != 1 and self.most):
            return "integer"
        return "ternary" if self.negative else "binary"

    @property
    def rate(self) -> float:
        """The share that is not 0."""
        return self.nonzeros / self.elements if self.elements else 0.0

    def add(self, other: "Operand") -> None:
        """Takes in what another batch held, both counted in the same unit."""
        self.elements += other.elements
        self.nonzeros += other.nonzeros
        self.spikes += other.spikes
        if self.unit is None or other.unit is None:
            self.unit = None
        elif other.most:  # nothing but 0 fits every unit
            self.unit = min(self.unit, other.unit) if self.most else other.unit
        self.most = max(self.most, other.most)
        self.negative |= other.negative
        self.example = other.example if self.example is None else self.example

    def describe(self) -> dict[str, Any]:
        """Plain numbers, for JSON."""
        return {"kind": self.kind, "rate": self.rate, **asdict(self)}


@dataclass
class Seen:
    """One tensor and what it holds: where it is not 0, and `counts` of spikes where they are not 0 and 1 only."""

    operand: Operand
    nonzero: Tensor
    counts: Tensor | None

    @property
    def spikes(self) -> Tensor:
        return self.nonzero if self.counts is None else self.counts


def look(x: Tensor, units: Sequence[float]) -> Seen:
    """Finds out what a tensor holds, trying `units` from the largest on; spikes are counted in the smallest of them."""
    x = x.detach()
    nonzero = x != 0
    operand = Operand(elements=x.numel(), nonzeros=int(nonzero.sum()))
    if not x.numel():
        return Seen(operand, nonzero, None)
    if not x.is_floating_point():
        x = x.float()
    operand.unit = next((unit for unit in units if _made_of(x, unit)), None)
    if operand.unit is None:
        counts = x / units[-1]
        operand.example = float(x[counts != counts.round()][0])
        return Seen(operand, nonzero, None)
    low, high = (round(float(bound) / units[-1]) for bound in x.aminmax())
    operand.most, operand.negative = max(high, -low), low < 0
    if operand.most <= 1:
        operand.spikes = operand.nonzeros
        return Seen(operand, nonzero, None)
    counts = (x / units[-1]).round().abs()
    operand.spikes = int(counts.sum(dtype=torch.float64))
    return Seen(operand, nonzero, counts)


def _made_of(x: Tensor, unit: float) -> bool:
    return _whole(_a_few(x), unit) and _whole(x, unit)  # real numbers show at once


def _whole(x: Tensor, unit: float) -> bool:
    counts = x if unit == 1 else x / unit
    return bool(torch.equal(counts, counts.round()))


def _a_few(x: Tensor) -> Tensor:
    """A few of a tensor's numbers, whatever its strides are."""
    while x.ndim > 1 and x.shape[0] == 1:
        x = x[0]
    return x[0] if x.ndim > 1 else x
