"""What neurons that emit counts of spikes have in common."""

import torch
from torch import Tensor, nn

from spikeformers.neurons.lif import check_threshold
from spikeformers.ops.arguments import check_positive, check_whole


class Integer(nn.Module):
    """A count of spikes, each worth `unit`, at each step by itself: `[T, ...] current -> [T, ...] counts * unit`.

    `max_count` is D, the binary spikes that stand for a step at inference; `unit` is 1 / D unless given. There is no
    membrane: a step remembers nothing. How `x / v_threshold` becomes a count, `count`, is for subclasses to say.
    Spike-driven Transformer V3, Yao et al., TPAMI 2025, arXiv:2411.16061.

    Raises ValueError where `max_count` is below 1 or the threshold is not above 0.
    """

    levels: tuple[float, ...]
    causal = True

    def __init__(self, *, v_threshold: float = 1.0, max_count: int = 4, unit: float | None = None):
        super().__init__()
        check_threshold(v_threshold, 0.0)
        check_count(max_count)
        self.v_threshold, self.max_count = v_threshold, max_count
        self.unit = 1 / max_count if unit is None else unit
        check_positive(unit=self.unit)
        self.levels = tuple(count * self.unit for count in range(max_count + 1))

    def forward(self, x: Tensor) -> Tensor:
        current = x.to(torch.promote_types(x.dtype, torch.float32)) / self.v_threshold
        return (self.count(current) * self.unit).to(x.dtype)

    def count(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def extra_repr(self) -> str:
        return f"v_threshold={self.v_threshold}, max_count={self.max_count}, unit={self.unit}"


def check_count(max_count: int) -> None:
    """Raises ValueError unless a neuron may fire once at least."""
    check_whole(why="a neuron that never fires; allow 1 or more spikes", max_count=max_count)
