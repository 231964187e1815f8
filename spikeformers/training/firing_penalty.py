"""A penalty on firing rates."""

from typing import Any

import torch
from torch import Tensor, nn


class FiringPenalty:
    """`weight` times the squared distance of each neuron's rate from `rate`, averaged over neurons.

    A rate here is the mean output over the largest level, so that gradients pass. Of a ternary neuron it is the mean
    size of the outputs: a silent one passes no gradient, as it has no sign, so such a rate can only be lowered. The
    rates cover the forward passes inside the `with` block.
    """

    def __init__(self, model: nn.Module, rate: float, weight: float):
        self.neurons: list[Any] = [module for module in model.modules() if hasattr(module, "levels")]
        self.rate, self.weight = rate, weight
        self._rates: dict[int, Tensor] = {}
        self._inside = self._hooked = False

    def __enter__(self) -> "FiringPenalty":
        self._rates.clear()
        self._inside = True
        if self.weight and not self._hooked:
            self._hooked = True
            for neuron in self.neurons:  # by a function, which copies of the model do not copy
                neuron.register_forward_hook(lambda *call: self._read(*call))
        return self

    def __exit__(self, *_: object) -> None:
        self._inside = False

    def __call__(self) -> Tensor | float:
        """The penalty of the forward passes in the block."""
        if not self._rates:
            return 0.0
        return self.weight * (torch.stack([*self._rates.values()]) - self.rate).square().mean()

    def _read(self, neuron: Any, _inputs: tuple, spikes: Tensor) -> None:
        if not (self._inside or torch.is_grad_enabled()):
            return
        spikes = spikes.float().abs() if min(neuron.levels) < 0 else spikes.float()
        rate = spikes.mean() / max(neuron.levels)
        # Each neuron is read once. Recomputed blocks call it again in the backward pass, outside the `with` block, and
        # must then save for backward what they saved before: so the hooks stay, and the rate is computed in any case.
        if self._inside:
            self._rates.setdefault(id(neuron), rate)
