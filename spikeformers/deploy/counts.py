"""Which tensors of an ONNX graph hold whole numbers of spikes, and how many, as the graph shows."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Range:
    """What a tensor holds: numbers from `low` to `high`, all multiples of `unit`; of any kind if that is 0."""

    low: float
    high: float
    unit: float = 0.0

    @property
    def levels(self) -> float:
        """How many numbers it may hold; infinite if they are of any kind."""
        return (self.high - self.low) / self.unit + 1 if self.unit else math.inf


def ranges(nodes: Sequence[Any], constant: Callable[[str], np.ndarray | None]) -> dict[str, Range]:
    """The range of every tensor that has one.

    Args:
        nodes: The nodes of an ONNX graph, in its order.
        constant: The value of a constant by its name, None for other names.

    Returns:
        Ranges by the names of tensors. Spikes come from comparisons, counts from rounding between bounds; both keep
        their units through whatever moves, pools, adds or multiplies them.
    """
    found: dict[str, Range] = {}

    def of(name: str) -> Range | None:
        if name in found:
            return found[name]
        value = constant(name)
        return Range(float(value.item()), float(value.item())) if value is not None and value.size == 1 else None

    for node in nodes:
        made = _of_node(node, [of(name) for name in node.input])
        every = node.output if node.op_type == "Split" else node.output[:1]  # a pool's second are indices
        found |= {name: made for name in every if made}
    return found


def _of_node(node: Any, inputs: list[Range | None]) -> Range | None:
    kind, x = node.op_type, inputs[0] if inputs else None
    if kind in _COMPARES:
        return Range(0.0, 1.0, 1.0)
    if kind == "Clip":
        low, high = [*inputs[1:], None, None][:2]
        return _within(x, low.low if low else -math.inf, high.high if high else math.inf)
    if kind in _JOINS:
        return _joined(inputs[kind == "Where" :])
    if x is None:
        return None
    if kind in _MOVES:
        return x
    if kind == "Cast":
        return x if node.attribute[0].i in _FLOATS or x.unit == round(x.unit) > 0 else None
    if kind in _ROUNDS and math.isfinite(x.high - x.low):
        return Range(float(_ROUNDS[kind](x.low)), float(_ROUNDS[kind](x.high)), 1.0)
    if kind == "Pad":
        return _joined([x, Range(0.0, 0.0) if len(inputs) < 3 or not node.input[2] else inputs[2]])
    if kind in _ARITHMETIC and (y := inputs[1]) is not None:
        return _ARITHMETIC[kind](x, y)
    return None


def _within(x: Range | None, low: float, high: float) -> Range | None:
    if x is None:
        return Range(low, high)
    unit = x.unit if all(_is_multiple(end, x.unit) or math.isinf(end) for end in (low, high)) else 0.0
    return Range(min(max(x.low, low), high), max(min(x.high, high), low), unit)


def _joined(parts: Sequence[Range | None]) -> Range | None:
    known = [part for part in parts if part]
    if not known or len(known) < len(parts):
        return None
    unit = known[0].unit or max(part.unit for part in known)
    shared = unit if all(_counts_by(part, unit) for part in known) else 0.0
    return Range(min(part.low for part in known), max(part.high for part in known), shared)


def _add(x: Range, y: Range) -> Range:
    joined = _joined([x, y])
    return Range(x.low + y.low, x.high + y.high, joined.unit if joined else 0.0)


def _mul(x: Range, y: Range) -> Range:
    corners = [a * b for a in (x.low, x.high) for b in (y.low, y.high)]
    unit = _alone(x) * _alone(y) if x.unit or y.unit else 0.0
    return Range(min(corners), max(corners), abs(unit))


def _div(x: Range, y: Range) -> Range | None:
    return _mul(x, Range(1 / y.low, 1 / y.low)) if y.low == y.high != 0 else None


def _alone(x: Range) -> float:
    """A factor's unit: that of its counts, or the number that it is."""
    return x.unit or (x.low if x.low == x.high else 0.0)


def _counts_by(x: Range, unit: float) -> bool:
    return math.isclose(x.unit, unit, rel_tol=1e-6) or (x.low == x.high and _is_multiple(x.low, unit))


def _is_multiple(x: float, unit: float) -> bool:
    return unit > 0 and math.isfinite(x) and abs(x / unit - round(x / unit)) < 1e-6


_COMPARES = frozenset(("Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal", "And", "Or", "Not", "Xor"))
_JOINS = frozenset(("Concat", "Where", "Max", "Min"))
_FLOATS = frozenset((1, 10, 11, 16))  # ONNX's numbers for float, float16, double and bfloat16
_MOVES = frozenset((
    "Identity", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Expand", "Tile", "Slice", "Gather",
    "Split", "MaxPool", "ReduceMax", "ReduceMin", "DepthToSpace", "SpaceToDepth",
))  # fmt: skip
_ROUNDS: dict[str, Callable[[float], float]] = {"Round": np.rint, "Floor": math.floor, "Ceil": math.ceil}
_ARITHMETIC: dict[str, Callable[[Range, Range], Range | None]] = {
    "Add": _add,
    "Sub": lambda x, y: _add(x, Range(-y.high, -y.low, y.unit)),
    "Mul": _mul,
    "Div": _div,
}
