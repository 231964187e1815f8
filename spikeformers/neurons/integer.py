"""The base class of neurons that emit counts of spikes without a membrane."""

import torch
from torch import Tensor, nn

from spikeformers.neurons.lif import check_threshold
from spikeformers.ops.arguments import check_positive, check_whole


class Integer(nn.Module):
    """Rounds the current of each step to a count of spikes worth `unit`: `[T, ...] current -> [T, ...] counts * unit`.

    `max_count` is D, the number of binary steps per step at inference; `unit` defaults to 1 / D. There is no membrane:
    steps are independent. Subclasses define `count`, the rounding of `x / v_threshold`, and say whether 16 bits are
    enough for it. Spike-driven Transformer V3, Yao et al., TPAMI 2025, arXiv:2411.16061.

    Raises ValueError if `max_count` is below 1 or the threshold is not above 0.
    """

    levels: tuple[float, ...]
    causal = True
    resets, remembers = False, ()
    _sixteen_bits_do = False

    def __init__(self, *, v_threshold: float = 1.0, max_count: int = 4, unit: float | None = None):
        super().__init__()
        check_threshold(v_threshold, 0.0)
        check_count(max_count)
        self.v_threshold, self.max_count = v_threshold, max_count
        self.unit = 1 / max_count if unit is None else unit
        check_positive(unit=self.unit)
        self.levels = tuple(count * self.unit for count in range(max_count + 1))

    def forward(self, x: Tensor) -> Tensor:
        exact = self._sixteen_bits_do and self.v_threshold == 1 and self.max_count <= 256  # bfloat16's whole numbers
        current = x if exact else x.to(torch.promote_types(x.dtype, torch.float32))
        if self.v_threshold != 1:  # a pass over memory each way
            current = current / self.v_threshold
        return (self.count(current) * self.unit).to(x.dtype)

    def initial(self, x: Tensor) -> tuple[()]:
        return ()

    def step(self, x: Tensor) -> tuple[Tensor]:
        return (Integer.forward(self, x),)

    def count(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def extra_repr(self) -> str:
        return f"v_threshold={self.v_threshold}, max_count={self.max_count}, unit={self.unit}"


def check_count(max_count: int) -> None:
    """Raises ValueError for a largest count below 1."""
    check_whole(why="the neuron would never fire; give 1 or more", max_count=max_count)
