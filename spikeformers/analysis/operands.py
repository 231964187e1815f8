"""What the tensors of a product hold: spikes, counts of spikes, or real numbers."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

import torch
from torch import Tensor

_ROW = 2**16  # numbers of at most 256 that float32 adds exactly


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
        """`binary`, `ternary`, `integer`, as are spikes that are not worth 1, or `real`; empty where none were seen."""
        if not self.elements:
            return ""
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
        self.example = max((e for e in (self.example, other.example) if e is not None), default=None)

    def describe(self) -> dict[str, Any]:
        """Plain numbers, for JSON."""
        return {"kind": self.kind, "rate": self.rate, **asdict(self)}


@dataclass
class Seen:
    """One tensor and what it holds: 1 where it is not 0, and `counts` of spikes where those are not the same."""

    operand: Operand
    nonzero: Tensor
    counts: Tensor | None = None

    @property
    def spikes(self) -> Tensor:
        return self.nonzero if self.counts is None else self.counts


def look(x: Tensor, units: Sequence[float]) -> Seen:
    """Finds out what a tensor holds, trying `units` from the largest on; spikes are counted in the smallest of them."""
    x = x.detach()
    if x.is_complex():
        nonzero = x.ne(0).float()
        example = float(x.abs().max()) if x.numel() else None
        return Seen(Operand(x.numel(), total(nonzero), unit=None, example=example), nonzero)
    if x.dtype not in (torch.float32, torch.float64):
        x = x.float()
    operand = Operand(elements=x.numel())
    if not x.numel():
        return Seen(operand, x)
    flat = in_memory_order(x)
    low, high = (float(bound) for bound in flat.aminmax())
    # between 0 and 1 no term of this sum is below 0, so that it is 0 for 0 and 1 alone
    binary = low >= 0 and high <= 1 and _whole(flat[:256], 1.0) and float((flat * (1 - flat)).sum()) == 0
    finite = isfinite(low) and isfinite(high)  # a mask's -inf is no count of spikes
    operand.unit = 1.0 if binary else next((unit for unit in units if finite and _made_of(flat, unit)), None)
    nonzero = x if binary else x.abs().sign()
    operand.nonzeros = total(nonzero)
    if operand.unit is None:
        counts = flat / units[-1]
        odd = flat[(counts != counts.round()) & counts.isfinite()]
        operand.example = float(odd.max()) if len(odd) else None
        return Seen(operand, nonzero)
    operand.most, operand.negative = round(max(high, -low) / units[-1]), low < 0
    if operand.most <= 1:
        operand.spikes = operand.nonzeros
        return Seen(operand, nonzero)
    counts = (x / units[-1]).round().abs()
    counts = counts.double() if operand.most > 256 else counts
    operand.spikes = total(counts)
    return Seen(operand, nonzero, counts)


def total(amount: Tensor) -> int:
    """The sum of whole numbers, exactly."""
    flat = in_memory_order(amount)
    rows = [flat[i : i + _ROW].sum() for i in range(0, len(flat), _ROW)]
    return sum(map(int, torch.stack(rows).tolist())) if rows else 0


def in_memory_order(x: Tensor) -> Tensor:
    """A tensor's numbers in a row, `[...] -> [N]`, without a copy where its memory has no gaps, whatever its format."""
    order = sorted(range(x.ndim), key=lambda axis: -x.stride(axis))
    return x.permute(order).reshape(-1)


def _made_of(flat: Tensor, unit: float) -> bool:
    return _whole(flat[:256], unit) and _whole(flat, unit)  # real numbers show at once


def _whole(x: Tensor, unit: float) -> bool:
    counts = x if unit == 1 else x / unit
    return bool(torch.equal(counts, counts.round()))
