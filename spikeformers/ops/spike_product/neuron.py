"""What the kernels know of neurons."""

from __future__ import annotations

import ctypes
import math
from dataclasses import asdict, dataclass

CURRENT, LIF, INTEGER = 0, 1, 2


class _Struct(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int32) for name in ("kind", "decay_input", "soft", "membrane", "half_up", "top")),
        *((name, ctypes.c_float) for name in ("tau", "threshold", "reset", "gain")),
    ]


@dataclass(frozen=True)
class Neuron:
    """A neuron whose output is a byte: `round(clamp(h / threshold, 0, top))` of INTEGER, 0 or 1 of LIF.

    `tau` is in steps, infinite for one that forgets nothing; `v_reset` None is the soft reset; INTEGER without a
    `membrane` forgets everything. `gain` k is that of relu(k h), 0 for none. A byte is worth `unit`.
    """

    kind: int = LIF
    tau: float = 2.0
    threshold: float = 1.0
    v_reset: float | None = 0.0
    decay_input: bool = True
    membrane: bool = True
    half_up: bool = False
    gain: float = 0.0
    top: int = 1
    unit: float = 1.0

    def struct(self) -> _Struct:
        return _Struct(
            self.kind,
            self.decay_input,
            self.v_reset is None,
            self.membrane,
            self.half_up,
            self.top,
            0.0 if math.isinf(self.tau) else self.tau,
            self.threshold,
            self.v_reset or 0.0,
            self.gain,
        )

    def describe(self) -> dict[str, object]:
        return asdict(self)


NONE = Neuron(CURRENT)
