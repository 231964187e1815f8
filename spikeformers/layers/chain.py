"""Parts in sequence."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn


def run_plain(part: nn.Module, x: Tensor) -> Tensor:
    """`part(x)`."""
    return part(x)


class Chain(nn.Sequential):
    """`nn.Sequential` that calls its parts by `run`, which `recompute_blocks` replaces."""

    def __init__(self, *parts: Any):
        super().__init__(*parts)
        self.run: Callable[[nn.Module, Tensor], Tensor] = run_plain

    def forward(self, input: Tensor) -> Tensor:
        for part in self:
            input = self.run(part, input)
        return input
