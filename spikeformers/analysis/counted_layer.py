"""A layer of a model with counts of its operations."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from spikeformers.analysis.operands import Operand


@dataclass
class Layer:
    """One operation of a model, with counts over any number of batches.

    `name` is the module and, if it has several operations, the operation's label. `op` is `convolution`, `linear`,
    `product` (of two activations), `mask` (elementwise product), `scale` (by a constant that does not fold into weights
    or a threshold), `division`, `function` (such as `exp`), `add`, `bias` (also of a folded norm), `sum`, `scan` (a
    cumulative sum), `pool`, `compare`, `select` (by a condition), `neuron` (an update; `left` is its output) or
    `unknown`, an operation of unknown cost. `right` is None if the other side is weights.
    """

    name: str
    op: str
    left: Operand = field(default_factory=Operand)
    right: Operand | None = None
    role: str = ""  # `first`, before any neuron, or `classifier`
    attention: bool = False  # inside an attention part
    macs: int = 0  # multiplications as papers count them, padding included
    dense: int = 0  # multiplications without padding
    hits: int = 0  # multiplications with both sides nonzero
    left_events: int = 0  # hits weighted by the number of spikes on the left
    right_events: int = 0
    biased: int = 0  # outputs with a bias of the layer's own, before any norm is folded
    linear: int = 0  # for a product of (q k^T) v: the multiplications of q (k^T v) instead
    keys: Operand | None = None  # k, for the second product of (q k^T) v
    passes: int = 1  # times one sample passes through: T, or 1; 0 while it is not known
    weights: int = 0  # numbers of them
    weight_bits: int = 0  # of a quantised weight; 0 if its layer has no quantizer
    levels: int = 2  # that a neuron can emit
    multiplications: int = 0  # per update of a neuron
    resets: bool = True  # whether a spike changes the neuron's membrane
    membrane: bool = True  # whether the neuron keeps anything from step to step
    repeated: bool = True  # whether a layer before any neuron reads the same numbers at every step
    sides: tuple[str, str] = ("", "")  # the neurons that emit the two sides, if known

    def describe(self) -> dict[str, Any]:
        """Plain numbers, for JSON."""
        sides = {key: getattr(self, key) for key in ("left", "right", "keys")}
        own = {key: value for key, value in asdict(self).items() if key not in sides}
        return {**own, **{key: side.describe() if side else None for key, side in sides.items()}}
