"""Profiling a model on real inputs: operations, firing and energy."""

import csv
import io
import json
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from spikeformers.analysis.counted_layer import Layer
from spikeformers.analysis.energy import CONVENTIONS, HOROWITZ, Convention, Costs, Energy, find_convention
from spikeformers.analysis.memory_energy import MEMORY, Memory, Twin, dense_twin
from spikeformers.analysis.model_counter import Counter
from spikeformers.analysis.neuron_activity import NeuronActivity
from spikeformers.analysis.neuron_states import reset_neurons
from spikeformers.analysis.operands import base_unit


@dataclass(frozen=True)
class Profile:
    """Operations of every layer and spikes of every neuron layer: exact integers, summed over `samples` inputs.

    Attributes:
        model: the model's name.
        samples: number of inputs.
        steps: time steps of an input.
        layers: operations, in the order of execution.
        activity: neuron layers, in the order of execution.
        costs: picojoules per operation.
        memory: memories and their costs, for the convention `memory` and the twin.
    """

    model: str
    samples: int
    steps: int
    layers: list[Layer]
    activity: list[NeuronActivity]
    costs: Costs = HOROWITZ
    memory: Memory = MEMORY

    def total(self, convention: str | Convention = "strict", costs: Costs | None = None) -> Energy:
        """The mean cost of one input. Raises ValueError for an unknown convention."""
        counted = find_convention(convention) if isinstance(convention, str) else convention
        return counted.energy(self.layers, self.samples, costs or self.costs, steps=self.steps, memory=self.memory)

    @property
    def twin(self) -> Twin | None:
        """The quantised dense network of the same layers, and the firing rate at which both cost the same.

        None for an unrolled network, which computes a count in several passes: its twin is the integer model's.
        """
        if any(activity.sub_steps for activity in self.activity):
            return None
        return dense_twin(self.layers, self.samples, self.steps, self.memory)

    def by_layer(self, convention: str | Convention = "strict") -> list[tuple[Layer, Energy]]:
        """The layers that cost anything, each with its mean cost per input."""
        counted = find_convention(convention) if isinstance(convention, str) else convention
        how: dict[str, Any] = dict(steps=self.steps, memory=self.memory)
        costs = [(layer, counted.energy([layer], self.samples, self.costs, **how)) for layer in self.layers]
        return [(layer, energy) for layer, energy in costs if energy.ac or energy.mac or energy.with_memory]

    @property
    def uncounted(self) -> list[str]:
        """Operations of unknown cost, which no total includes: `blocks.0.attn.erfinv1`."""
        return [layer.name for layer in self.layers if layer.op == "unknown"]

    def describe(self) -> dict[str, Any]:
        """Everything as plain numbers."""
        totals = {name: self.total(name) for name in CONVENTIONS}
        return {
            "model": self.model,
            "samples": self.samples,
            "steps": self.steps,
            "picojoules": {"ac": self.costs.ac, "mac": self.costs.mac},
            "energy": {n: {"ac": e.ac, "mac": e.mac, "millijoules": e.millijoules} for n, e in totals.items()},
            "memory": self.memory.describe(),
            "twin": twin.describe() if (twin := self.twin) else None,
            "uncounted": self.uncounted,
            "layers": [layer.describe() for layer in self.layers],
            "neurons": [activity.describe() for activity in self.activity],
        }

    def to_json(self) -> str:
        return json.dumps(self.describe(), indent=2)

    def to_csv(self) -> str:
        """One row per layer: FLOPs, rates, kinds, and ACs and MACs per input by every convention."""
        table = io.StringIO()
        counts = [f"{what}_{name}" for name in CONVENTIONS for what in ("ac", "mac")]
        columns = [
            "layer", "op", "role", "flops", "left_kind", "left_rate", "left_most", "right_kind", "right_rate", *counts
        ]  # fmt: skip
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(columns)
        for layer in self.layers:
            right = layer.right
            kind = layer.left.kind if layer.left.elements else ""
            row: list[Any] = [layer.name, layer.op, layer.role, layer.macs // self.samples, kind]
            row += [f"{layer.left.rate:.6g}", layer.left.most, right.kind if right else "weights"]
            row += [f"{right.rate:.6g}" if right else ""]
            for convention in CONVENTIONS.values():
                row += [f"{count / self.samples:.10g}" for count in convention.count(layer)]
            writer.writerow(row)
        return table.getvalue()


def profile(
    model: nn.Module,
    batches: Iterable[Any],
    *,
    costs: Costs = HOROWITZ,
    memory: Memory = MEMORY,
    name: str | None = None,
    samples: int | None = None,
) -> Profile:
    """Runs a model on batches and counts its operations and spikes.

        profile(model, loader).total("strict").millijoules

    Args:
        model: a model of this library, or any PyTorch module, also with neurons of SpikingJelly and snnTorch, whose
            states are reset before each batch and at the end. It runs in eval mode, uncompiled, in its own precision,
            and stays unchanged.
        batches: a list or loader of images `[B, ...]` or sequences `[T, B, C, H, W]`, alone or first in a tuple with
            labels, all of one size.
        costs: picojoules per operation.
        memory: memories and their costs, for the convention `memory`.
        name: the model's name in the profile; by default the name in its config, or its class.
        samples: inputs in a batch, for batches of other shapes.

    Returns:
        The profile, with exact integers.

    Raises:
        ValueError: there is no batch, `batches` is a tensor, or inputs differ in size.
    """
    check_batches(batches)
    model = getattr(model, "_orig_mod", model)  # the module inside torch.compile's wrapper
    counter = Counter(model)
    training = [module for module in model.modules() if module.training]
    model.eval()
    device = next((p.device for p in model.parameters()), None)
    try:
        for batch in batches:
            x = batch[0] if isinstance(batch, tuple | list) else batch
            x = x if device is None else x.to(device)
            reset_neurons(model)
            count = samples or (x.shape[1] if x.ndim == 5 else len(x))
            with counter.batch(count, _steps_of(model, x), _is_repeated(x, count)):
                model(x)
    finally:
        reset_neurons(model)
        for module in training:
            module.training = True
    if not counter.samples:
        raise ValueError("there are no batches to profile on: give at least one")
    label = name or str(getattr(model, "config", {}).get("name") or type(model).__name__)
    steps = max(
        (len(a.rates) // (a.sub_steps or 1) for a in counter.activity.values()), default=getattr(model, "time_steps", 1)
    )
    layers = [_settled(layer, steps, base_unit(counter.units)) for layer in counter.layers.values()]
    activity = [*counter.activity.values()]
    for layer in layers:
        if layer.op == "neuron":
            layer.passes = len(counter.activity[layer.name.removesuffix(".update")].rates)
    return Profile(label, counter.samples, steps, layers, activity, costs, memory)


def check_batches(batches: Any) -> None:
    """Raises ValueError for a tensor, whose first axis would be taken for the batches."""
    if isinstance(batches, Tensor):
        raise ValueError(f"batches is a tensor of shape {[*batches.shape]}: give a list of batches, such as [x]")


def _steps_of(model: nn.Module, x: Tensor) -> int | None:
    """The steps of one call, or None for a model that makes them itself and does not say how many."""
    own = getattr(model, "time_steps", None)
    return len(x) if x.ndim == 5 and (own or len(x) > 1) else own


def _is_repeated(x: Tensor, samples: int) -> bool:
    """Whether an input is the same at every step, as an image is."""
    in_time = x.ndim == 5 or (x.ndim > 1 and len(x) != samples == x.shape[1])
    return not in_time or all(torch.equal(step, x[0]) for step in x[1:])


def _settled(layer: Layer, steps: int, base: float) -> Layer:
    """A layer with spikes counted in its own unit, not in `base`, and `passes` set to the steps or 1."""
    layer = deepcopy(layer)
    sides = ((layer.left, "left_events"), (layer.right, "right_events"), (layer.keys, ""))
    for side, events in sides if layer.op != "neuron" else ():  # whose spikes are counted as such
        if side is not None and side.unit is not None:
            times = round(side.unit / base)
            side.spikes, side.most = side.spikes // times, side.most // times
            if events:
                setattr(layer, events, getattr(layer, events) // times)
    layer.passes = steps if layer.passes % steps == 0 else 1  # on regions 0, for all steps
    return layer
