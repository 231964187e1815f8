"""The neurons that the kernels have."""

from __future__ import annotations

import ctypes
import functools
import math
from dataclasses import asdict, dataclass

CURRENT, LIF, INTEGER = 0, 1, 2


class Struct(ctypes.Structure):
    """`Neuron` of kernels.cpp."""

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

    def __post_init__(self) -> None:
        if not 1 <= self.top <= 255:
            raise ValueError(f"top {self.top} is not in 1 to 255, which a byte holds")

    @functools.cached_property
    def numbers(self) -> tuple[float, ...]:
        """The fields of `Struct`."""
        return (
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
        """The arguments that make it, for a file."""
        return asdict(self)


@functools.lru_cache(maxsize=1024)
def struct(numbers: tuple[float, ...]) -> Struct:
    """What the kernels are handed for the `numbers` of a neuron; for none, a kind that only writes the current."""
    return Struct(*map(int, numbers[:6]), *numbers[6:]) if numbers else Struct(CURRENT)
