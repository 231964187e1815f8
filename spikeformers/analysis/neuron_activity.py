"""Spikes of neuron layers: rates by step and by neuron, silent and saturated neurons."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from spikeformers.layers.contracts import declared


@dataclass
class NeuronActivity:
    """The spikes of one neuron layer, summed over batches.

    `by_step` counts nonzero outputs at each step, over neurons and samples; `by_neuron` counts them for each neuron,
    over samples and steps, in the shape of one sample. In an unrolled network, each step of the model has
    `sub_steps` steps of the neuron; elsewhere it is None.
    """

    name: str
    kind: str
    by_step: Tensor | None = None  # T
    by_neuron: Tensor | None = None  # C H W, or another shape of a sample
    samples: int = 0
    sub_steps: int | None = None
    _step: int = 0

    def begin(self) -> None:
        """Begins a new batch, at step 0."""
        self._step = 0

    def add(self, spikes: Tensor, steps: int, samples: int, of: int | None = None) -> int:
        """Adds outputs `[T, B, ...]` of all `steps`, or `[B, ...]` of one step. Returns the number of nonzero ones.

        `of` are the steps of the model, if known. A call that covers them all begins again: a neuron that a model calls
        in two places counts as one that saw twice the samples.

        Raises ValueError for another number of neurons than before.
        """
        by_place = _fired(spikes.detach(), steps, samples)  # T neurons
        by_step, by_neuron = by_place.sum(1), by_place.sum(0)
        if self.by_step is None or self.by_neuron is None:
            self.by_step, self.by_neuron = by_step.new_zeros(0), torch.zeros_like(by_neuron)
        if by_neuron.numel() != self.neurons:
            raise ValueError(
                f"{self.name} is {self.neurons} neurons in one call and {by_neuron.numel()} in another: give inputs of "
                "one size, and a model that calls it in several places a neuron for each"
            )
        covers_all = steps > 1 if of is None else steps >= of * (self.sub_steps or 1)
        first = 0 if covers_all else self._step
        self._step = first + steps
        if (missing := self._step - len(self.by_step)) > 0:
            self.by_step = torch.cat([self.by_step, self.by_step.new_zeros(missing)])
        self.by_step[first : self._step] += by_step
        self.by_neuron += by_neuron
        self.samples += samples if first == 0 else 0
        return int(by_step.sum())

    @property
    def neurons(self) -> int:
        return 0 if self.by_neuron is None else self.by_neuron.numel()

    @property
    def rates(self) -> list[float]:
        """The share of neurons that fire, step by step."""
        counts = [] if self.by_step is None else self.by_step.tolist()
        return [count / max(self.neurons * self.samples, 1) for count in counts]

    @property
    def rate(self) -> float:
        return sum(self.rates) / max(len(self.rates), 1)

    @property
    def silent(self) -> float:
        """The share of neurons that never fired."""
        return 0.0 if self.by_neuron is None else float((self.by_neuron == 0).double().mean())

    @property
    def saturated(self) -> float:
        """The share of neurons that fired at every step of every sample."""
        if self.by_neuron is None:
            return 0.0
        return float((self.by_neuron == len(self.rates) * self.samples).double().mean())

    def describe(self) -> dict[str, Any]:
        """Plain numbers, for JSON."""
        numbers = ("name", "kind", "neurons", "rate", "rates", "silent", "saturated")
        return {key: getattr(self, key) for key in numbers}


def _fired(spikes: Tensor, steps: int, samples: int) -> Tensor:
    """The number of samples for which each neuron fired at each step: `[T, B, ...] -> [T, neurons]`."""
    fired = spikes if spikes.dtype in (torch.float32, torch.float64) else spikes.float()
    fired = fired.abs().sign()
    if spikes.shape[:2] != (steps, samples):  # the products may be equal: those of one channel, step by step
        return fired.reshape(steps, samples, -1).sum(1).long()
    axes = sorted(range(2, spikes.ndim), key=lambda axis: -spikes.stride(axis))  # in memory order: sums are fast
    by_place = fired.permute(0, 1, *axes).sum(1)
    back = [0, *(1 + axes.index(axis) for axis in range(2, spikes.ndim))]
    return by_place.permute(back).reshape(steps, -1).long()


def is_neuron(module: nn.Module) -> bool:
    """Whether a module is a neuron layer: it declares `levels`, or is one of SpikingJelly, snnTorch or Norse."""
    known = hasattr(module, "v_threshold") and hasattr(module, "surrogate_function")
    return known or hasattr(module, "levels") or any(_described(kind) in _NEURONS for kind in type(module).__mro__)


def _described(kind: type) -> str:
    return f"{kind.__module__}.{kind.__name__}"


_SINGLE_STEP = ("snntorch._neurons.neurons.SpikingNeuron", "norse.torch.module.snn.SNNCell")
_NEURONS = (*_SINGLE_STEP, "norse.torch.module.snn.SNN")


def multiplications_of(neuron: nn.Module) -> int:
    """Multiplications per neuron and step: as the neuron declares, or 1 if its membrane leaks."""
    neuron = getattr(neuron, "node", neuron)
    leaks = any(hasattr(neuron, name) for name in ("tau", "w", "decay", "beta"))  # beta: snnTorch's
    leaks |= hasattr(getattr(neuron, "p", None), "tau_mem_inv")  # Norse's
    return getattr(neuron, "multiplications", int(leaks))


def steps_of(neuron: nn.Module, spikes: Tensor) -> int:
    """How many steps one call of a neuron covers: the first axis, or 1 for one that runs step by step."""
    single = any(_described(kind) in _SINGLE_STEP for kind in type(neuron).__mro__)
    return 1 if single or getattr(neuron, "step_mode", "m") == "s" else spikes.shape[0]


def has_membrane(neuron: nn.Module) -> bool:
    """Whether a neuron keeps anything from step to step: unless it declares that it remembers nothing.

    One that looks ahead has to keep the steps that it mixes, and an unrolled one sums the current of its sub-steps.
    """
    remembers = getattr(neuron, "remembers", None)  # None of foreign neurons, and of our unrolled ones
    return remembers is None or bool(remembers) or not declared(neuron, "causal")


def units_of(model: nn.Module) -> tuple[float, ...]:
    """The values of one spike of the neurons in a model, always including 1, largest first."""
    units = {1.0}
    for module in model.modules():
        units |= {
            min(abs(level) for level in levels if level) for levels in [getattr(module, "levels", ())] if any(levels)
        }
    return tuple(sorted(units, reverse=True))
