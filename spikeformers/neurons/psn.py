"""The parallel spiking neuron, which sees all steps at once."""

import math
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from spikeformers.neurons.lif import check_threshold
from spikeformers.ops.arguments import check_whole
from spikeformers.ops.lif.reference import check_time
from spikeformers.ops.surrogate import ATan, Surrogate, spike


class PSN(nn.Module):
    """A neuron whose membrane is a learned sum over all steps, without reset: `[T, ...] current -> [T, ...] spikes`.

        h = weight x + bias                     weight T by T, bias T numbers, initially -v_threshold
        s = 1 if h >= 0 else 0

    It looks ahead in time (`causal = False`), without recurrence: T multiplications per neuron and step, in one matrix
    product. Fang et al., NeurIPS 2023, arXiv:2304.12760. Released code: equal, to 1e-14.

    Raises ValueError if the threshold is not above 0, and, when called, for a number of steps other than `time_steps`.
    """

    levels = (0.0, 1.0)
    causal = False
    resets = False

    def __init__(self, *, time_steps: int, v_threshold: float = 1.0, surrogate: Surrogate = ATan()):
        super().__init__()
        check_whole(time_steps=time_steps)
        check_threshold(v_threshold, None)
        self.weight = nn.Parameter(torch.empty(time_steps, time_steps))
        self.bias = nn.Parameter(torch.full((time_steps, 1), -v_threshold))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        self.surrogate = surrogate

    def forward(self, x: Tensor) -> Tensor:
        if len(x) != len(self.weight):
            raise ValueError(
                f"PSN has weights for {len(self.weight)} steps and got {len(x)}: "
                f"build it with time_steps={len(x)}, or use SlidingPSN"
            )
        return spike(mixed_over_time(self.weight, x, self.bias), self.surrogate).view_as(x).to(x.dtype)

    @property
    def multiplications(self) -> int:
        """Per neuron and step."""
        return len(self.weight)

    def extra_repr(self) -> str:
        return f"time_steps={len(self.weight)}, surrogate={self.surrogate}"


def mixed_over_time(weight: Tensor, x: Tensor, bias: Tensor) -> Tensor:
    """`weight x + bias` along time, in fp32 or more even under autocast: `[T, T], [T, ...], [T, 1] or [] -> [T, n]`."""
    check_time(x)
    flat = x.reshape(len(x), x[0].numel())
    dtype = torch.promote_types(x.dtype, torch.float32)
    under = not x.is_meta and torch.is_autocast_enabled(x.device.type)  # elsewhere an exported program would note it
    with torch.autocast(x.device.type, enabled=False) if under else nullcontext():
        return torch.addmm(bias.to(dtype), weight.to(dtype), flat.to(dtype))
