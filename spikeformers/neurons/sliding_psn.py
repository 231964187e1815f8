"""The parallel spiking neuron that sees the last few steps."""

import torch
from torch import Tensor, nn

from spikeformers.neurons.lif import check_threshold
from spikeformers.neurons.psn import mixed_over_time
from spikeformers.ops.arguments import check_whole
from spikeformers.ops.surrogate import ATan, Surrogate, spike


class SlidingPSN(nn.Module):
    """A neuron whose membrane is a learned sum over the last `order` steps: `[T, ...] current -> [T, ...] spikes`.

        h[t] = sum over i < order of weight[order - 1 - i] x[t - i] + bias     initial weights 1, 1/2, 1/4, ...
        s = 1 if h >= 0 else 0                                                  initial bias -v_threshold

    Any number of steps, causal, without reset or recurrence; `order` multiplications per neuron and step. Fang et al.,
    NeurIPS 2023, arXiv:2304.12760; the default order is ours. Released code: equal, to 1e-14.

    Raises ValueError for an `order` below 1, and if the threshold is not above 0.
    """

    levels = (0.0, 1.0)
    causal = True
    resets = False

    def __init__(self, *, v_threshold: float = 1.0, order: int = 4, surrogate: Surrogate = ATan()):
        super().__init__()
        check_whole(why="the neuron would see no step; give 1 or more", order=order)
        check_threshold(v_threshold, None)
        self.weight = nn.Parameter(0.5 ** torch.arange(order - 1.0, -1.0, -1.0))
        self.bias = nn.Parameter(torch.tensor(-v_threshold))
        self.surrogate = surrogate

    def forward(self, x: Tensor) -> Tensor:
        order, steps = len(self.weight), torch.arange(len(x), device=x.device)
        ago = steps[:, None] - steps  # T T
        within = (ago >= 0) & (ago < order)
        weight = torch.where(within, self.weight[(order - 1 - ago).clamp(0, order - 1)], 0.0)
        return spike(mixed_over_time(weight, x, self.bias), self.surrogate).view_as(x).to(x.dtype)

    @property
    def remembers(self) -> tuple[str, ...]:
        """The inputs of the last steps; `x1` is that of the last."""
        return tuple(f"x{ago}" for ago in range(1, len(self.weight)))

    def initial(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(torch.zeros_like(x) for _ in self.remembers)

    def step(self, x: Tensor, *last: Tensor) -> tuple[Tensor, ...]:
        seen = torch.stack([*reversed(last), x])
        spikes = spike(mixed_over_time(self.weight[None], seen, self.bias), self.surrogate).view_as(x).to(x.dtype)
        return spikes, *[x, *last][: len(last)]

    @property
    def multiplications(self) -> int:
        """Per neuron and step."""
        return len(self.weight)

    def extra_repr(self) -> str:
        return f"order={len(self.weight)}, surrogate={self.surrogate}"
