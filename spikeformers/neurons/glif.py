"""The gated leaky integrate-and-fire neuron."""

import math

import torch
from torch import Tensor, nn

from spikeformers.ops.arguments import check_finite, check_whole
from spikeformers.ops.lif.reference import at_rest, resting
from spikeformers.ops.steps import by_sample, check_horizon
from spikeformers.ops.surrogate import Sigmoid, Surrogate, spike


class GLIF(nn.Module):
    """LIF that learns to mix two kinds of leak, input and reset: `[T, ...] current -> [T, ...] spikes`.

        leak   = v - a (1 - decay) v - (1 - a) linear          a mixes exponential and linear leak
        input  = x (1 - b (1 - gain[t]))                       b mixes plain input and a gain per step
        h      = leak + input - s_before (c (1 - a (1 - decay)) v + (1 - c) drop)     c mixes two soft resets
        s      = 1 if h >= threshold else 0;  v = h

    Each of a, b, c, decay, linear, gain, threshold and drop is the sigmoid of a parameter of the layer, in (0, 1);
    `v_threshold` is the initial threshold. About four times the element-wise operations of `LIF`. Yao et al., NeurIPS
    2022, arXiv:2210.13768. The STEP benchmark's accuracies are those of another neuron, whose gates are fixed at 0.
    Released code: equal, to 1e-14.

    Raises ValueError for a `v_threshold` outside (0, 1), and, when called, for more steps than `time_steps`.
    """

    levels = (0.0, 1.0)
    causal = True
    remembers = ("v", "s", "t")

    def __init__(self, *, time_steps: int, v_threshold: float = 0.5, surrogate: Surrogate = Sigmoid()):
        super().__init__()
        check_whole(time_steps=time_steps)
        check_finite(v_threshold=v_threshold)
        if not 0 < v_threshold < 1:
            raise ValueError(
                f"v_threshold {v_threshold} is not in (0, 1), the range of its sigmoid: give 0.5, or use another neuron"
            )
        self.a, self.b, self.c = (nn.Parameter(0.2 * (torch.rand(()) - 0.5)) for _ in range(3))
        self.decay = _begins_at(0.25)
        self.linear = _begins_at(v_threshold / (2 * time_steps))
        self.threshold, self.drop = _begins_at(v_threshold), _begins_at(v_threshold)
        self.gain = nn.Parameter(torch.zeros(time_steps))  # sigmoid 0.5
        self.surrogate = surrogate

    def forward(self, x: Tensor) -> Tensor:
        check_steps("GLIF", x, len(self.gain))
        gates = self._gates()
        v = s = at_rest(x, None)
        spikes = []
        for x_t, gain in zip(x.unbind(0), self.gain.sigmoid(), strict=False):
            v, s = self._charged(x_t, v, s, gain, *gates)
            spikes.append(s.to(x.dtype))
        return torch.stack(spikes)

    def initial(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return resting(x, None), resting(x, None), x.new_zeros(x.shape[:1], dtype=torch.int64)

    def step(self, x: Tensor, v: Tensor, s: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        check_horizon("GLIF", "parameters", t, len(self.gain))
        v, s = self._charged(x, v, s, by_sample(self.gain.sigmoid()[t], x), *self._gates())
        return s.to(x.dtype), v, s, t + 1

    def _gates(self) -> tuple[Tensor, ...]:
        """What is equal at all steps."""
        a, b, c = self.a.sigmoid(), self.b.sigmoid(), self.c.sigmoid()
        kept = 1 - a * (1 - self.decay.sigmoid())
        return a, b, c, kept, self.linear.sigmoid(), self.threshold.sigmoid(), self.drop.sigmoid()

    def _charged(self, x: Tensor, v: Tensor, s: Tensor, gain: Tensor, *gates: Tensor) -> tuple[Tensor, Tensor]:
        """The membrane and the spikes of the next step."""
        a, b, c, kept, linear, threshold, drop = gates
        charged = kept * v - (1 - a) * linear + x.to(v.dtype) * (1 - b * (1 - gain))
        v = charged - s * (c * kept * v + (1 - c) * drop)
        return v, spike(v - threshold, self.surrogate)

    def extra_repr(self) -> str:
        return f"time_steps={len(self.gain)}, surrogate={self.surrogate}"


def check_steps(name: str, x: Tensor, time_steps: int) -> None:
    """Raises ValueError if `[T, ...]` has more steps than a neuron has parameters."""
    if len(x) > time_steps:
        raise ValueError(
            f"{name} has parameters for {time_steps} steps and got {len(x)}: build it with time_steps={len(x)}"
        )


def _begins_at(share: float) -> nn.Parameter:
    """A parameter whose sigmoid is `share`."""
    return nn.Parameter(torch.tensor(math.log(share / (1 - share))))
