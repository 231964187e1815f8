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
        self._hooks: list[Any] = []

    def __enter__(self) -> "FiringPenalty":
        self._rates.clear()
        if self.weight:
            self._hooks = [neuron.register_forward_hook(self._read) for neuron in self.neurons]
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()

    def __call__(self) -> Tensor | float:
        """The penalty of the forward passes in the block."""
        if not self._rates:
            return 0.0
        return self.weight * (torch.stack([*self._rates.values()]) - self.rate).square().mean()

    def _read(self, neuron: Any, _inputs: tuple, spikes: Tensor) -> None:
        # Each neuron is read once: recomputed blocks call it again in the backward pass.
        spikes = spikes.float().abs() if min(neuron.levels) < 0 else spikes.float()
        self._rates.setdefault(id(neuron), spikes.mean() / max(neuron.levels))
