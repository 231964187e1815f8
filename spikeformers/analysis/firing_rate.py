"""Firing rates of a model's neurons."""

from __future__ import annotations

from collections import defaultdict
from contextlib import ExitStack

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle


class FiringRates:
    """Counts the nonzero outputs of every neuron in a model inside its `with` block.

        with FiringRates(model) as firing:
            model(images)
        firing.by_block()      # {"stem": 0.08, "position": 0.11, "blocks.0": 0.17, ...}

    A neuron is a module that declares `levels`. A rate is the share of nonzero outputs over neurons, samples and steps.
    Several `with` blocks add up until `clear`.
    """

    def __init__(self, model: nn.Module):
        self.neurons = {name: module for name, module in model.named_modules() if hasattr(module, "levels")}
        self._modules = list(model.modules())
        self._hooks: list[RemovableHandle] = []
        self._plainly = ExitStack()
        self.clear()

    def clear(self) -> None:
        self._fired: dict[str, Tensor | int] = defaultdict(int)
        self._outputs: dict[str, int] = defaultdict(int)

    @property
    def running(self) -> bool:
        return bool(self._hooks)

    def __enter__(self) -> FiringRates:
        if any(module._compiled_call_impl is not None for module in self._modules):
            # compiled modules ignore hooks registered later, so they run uncompiled here
            self._plainly.enter_context(torch.compiler.set_stance("force_eager"))
        for name, neuron in self.neurons.items():

            def count(_module: nn.Module, _inputs: tuple, spikes: Tensor, name: str = name) -> None:
                self._fired[name] = self._fired[name] + spikes.detach().count_nonzero()
                self._outputs[name] += spikes.numel()

            self._hooks.append(neuron.register_forward_hook(count))
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        self._plainly.close()

    def by_neuron(self) -> dict[str, float]:
        """The rate of every neuron that was called."""
        return {name: float(self._fired[name]) / outputs for name, outputs in self._outputs.items()}

    def by_block(self) -> dict[str, float]:
        """The rates of the stem, the position part and every block, over all their neurons."""
        fired: dict[str, float] = defaultdict(float)
        outputs: dict[str, int] = defaultdict(int)
        for name in self._outputs:
            words = name.split(".")
            block = ".".join(words[:2]) if words[0] == "blocks" else words[0]
            fired[block] += float(self._fired[name])
            outputs[block] += self._outputs[name]
        return {block: fired[block] / outputs[block] for block in outputs}

    def overall(self) -> float:
        """The rate over all neurons; 0 if none was called."""
        return sum(map(float, self._fired.values())) / max(sum(self._outputs.values()), 1)
