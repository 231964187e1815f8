"""Classifying the operands of a product: spikes, counts of spikes, or real numbers."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import cache
from math import isfinite, lcm
from typing import Any

import torch
from torch import Tensor

_ROW = 2**16  # numbers of at most 256 that float32 adds exactly


@dataclass
class Operand:
    """One operand of a product, over any number of batches.

    A tensor consists of spikes if each of its numbers is a whole multiple of `unit`, the value of one spike. The
    multiple is the number of spikes. If none of the network's units fits, `unit` is None: the numbers are real,
    `example` is one that is not a multiple, and `spikes` has no meaning.
    """

    elements: int = 0
    nonzeros: int = 0
    spikes: int = 0  # the sum of the absolute multiples
    most: int = 0  # the largest absolute multiple
    negative: bool = False
    unit: float | None = 1.0
    example: float | None = None

    @property
    def kind(self) -> str:
        """`binary`, `ternary`, `integer` (also spikes of a value other than 1) or `real`; empty without elements."""
        if not self.elements:
            return ""
        if self.unit is None:
            return "real"
        if self.most > 1 or (self.unit != 1 and self.most):
            return "integer"
        return "ternary" if self.negative else "binary"

    @property
    def rate(self) -> float:
        """The share of nonzero elements."""
        return self.nonzeros / self.elements if self.elements else 0.0

    def add(self, other: "Operand") -> None:
        """Adds another batch, counted in the same unit."""
        self.elements += other.elements
        self.nonzeros += other.nonzeros
        self.spikes += other.spikes
        if self.unit is None or other.unit is None:
            self.unit = None
        elif other.most:  # a tensor of zeros fits every unit
            self.unit = base_unit((self.unit, other.unit)) if self.most else other.unit
        self.most = max(self.most, other.most)
        self.negative |= other.negative
        self.example = max((e for e in (self.example, other.example) if e is not None), default=None)

    def describe(self) -> dict[str, Any]:
        """Plain numbers, for JSON."""
        return {"kind": self.kind, "rate": self.rate, **asdict(self)}


@dataclass
class Seen:
    """A classified tensor: `nonzero` is 1 where it is not 0; `counts` are its spikes, None if equal to `nonzero`."""

    operand: Operand
    nonzero: Tensor
    counts: Tensor | None = None

    @property
    def spikes(self) -> Tensor:
        return self.nonzero if self.counts is None else self.counts


def look(x: Tensor, units: Sequence[float]) -> Seen:
    """Classifies a tensor. Tries `units` from the largest on, and counts spikes in `base_unit(units)`."""
    x, dtype = x.detach(), x.dtype
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
    # for numbers in [0, 1] every term of this sum is at least 0, so it is 0 only for numbers 0 and 1
    binary = low >= 0 and high <= 1 and _whole(flat[:256], 1.0, dtype) and float((flat * (1 - flat)).sum()) == 0
    finite = isfinite(low) and isfinite(high)  # -inf in a mask is not a count of spikes
    operand.unit = 1.0 if binary else next((unit for unit in units if finite and _made_of(flat, unit, dtype)), None)
    nonzero = x if binary else x.abs().sign()
    operand.nonzeros = total(nonzero)
    if operand.unit is None:
        odd = flat[~_fits(flat, units[-1], dtype) & flat.isfinite()]
        operand.example = float(odd.max()) if len(odd) else None
        return Seen(operand, nonzero)
    times = round(operand.unit / base_unit(tuple(units)))
    operand.most, operand.negative = round(max(high, -low) / operand.unit) * times, low < 0
    if operand.most <= 1:
        operand.spikes = operand.nonzeros
        return Seen(operand, nonzero)
    counts = (x / operand.unit).round().abs()
    counts = (counts.double() if operand.most > 256 else counts) * times
    operand.spikes = total(counts)
    return Seen(operand, nonzero, counts)


@cache
def base_unit(units: tuple[float, ...]) -> float:
    """The largest unit of which all `units` are whole multiples: their smallest, or 1 / 12 of 1 / 3 and 1 / 4."""
    least = min(units)
    return least / lcm(*(Fraction(unit / least).limit_denominator(256).denominator for unit in units))


def total(amount: Tensor) -> int:
    """The exact sum of integers."""
    flat = in_memory_order(amount)
    rows = [flat[i : i + _ROW].sum() for i in range(0, len(flat), _ROW)]
    return sum(map(int, torch.stack(rows).tolist())) if rows else 0


def in_memory_order(x: Tensor) -> Tensor:
    """A tensor flattened in memory order, `[...] -> [N]`, without a copy if its memory has no gaps."""
    order = sorted(range(x.ndim), key=lambda axis: -x.stride(axis))
    return x.permute(order).reshape(-1)


def _made_of(flat: Tensor, unit: float, dtype: torch.dtype) -> bool:
    return _whole(flat[:256], unit, dtype) and _whole(flat, unit, dtype)  # a few numbers usually decide


def _whole(x: Tensor, unit: float, dtype: torch.dtype) -> bool:
    return bool(_fits(x, unit, dtype).all())


def _fits(x: Tensor, unit: float, dtype: torch.dtype) -> Tensor:
    """Where numbers, of `dtype` before they came to float32, are whole multiples of `unit`."""
    counts = x if unit == 1 else x / unit
    whole = counts.round()
    fits = counts == whole
    if unit != 1 and dtype.is_floating_point and not fits.all():
        # No format holds a third. A neuron emits the nearest number, which divided by a third is not always whole.
        fits |= x == (whole * unit).to(dtype).to(x.dtype)
    return fits
