"""The model under audit: copies to run, each in the same state, and one recorded run to compare others with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from spikeformers.analysis.model_audit.layout import LAYOUTS, Samples, find_samples
from spikeformers.analysis.model_audit.runs import Event, Recording, Stopped, Tap, tapped, tensors
from spikeformers.analysis.neuron_activity import is_neuron
from spikeformers.analysis.neuron_states import reset_states
from spikeformers.layers.contracts import declared

_MOST_LEVELS = 33  # that a neuron can emit
_LIVELY = 0.1  # the share of a neuron's outputs that are to fire


class Subject:
    """A copy of a model in double precision if it runs in that, else in its own, with inputs.

    Norms that have seen nothing get the statistics of the inputs, and states are cleared.
    """

    def __init__(self, model: nn.Module, x: Tensor, *, layout: str | None, training: bool, steps: int | None):
        check_layout(layout)
        self.layout = layout or ("TB" if x.ndim == 5 else "B")
        self.batch_axis = 1 if self.layout == "TB" else 0
        if x.ndim <= self.batch_axis or x.shape[self.batch_axis] < 2:
            raise ValueError(
                f"inputs of shape {list(x.shape)} in layout {self.layout} hold no two samples to compare: give two or "
                f"more, and say with layout what the first axes are ({', '.join(LAYOUTS)})"
            )
        self.samples = x.shape[self.batch_axis]
        model = getattr(model, "_orig_mod", model)
        try:
            self.own = deepcopy(model)
        except (RuntimeError, TypeError) as error:
            raise ValueError(
                f"{type(model).__name__} cannot be copied ({' '.join(str(error).split())}): give it before its first "
                "call, or with its states reset"
            ) from error
        self.chooses = _before_the_choice(self.own)
        reset_states(self.own)
        device = next((p.device for p in self.own.parameters()), torch.device("cpu"))
        self.own_x = x.detach().to(device)
        self.own.eval()
        self.stopped: Stopped | None = None  # what stopped it in double precision
        self.neurons: dict[str, Tensor] = {}  # the levels of each, once they are known
        self.loud: dict[str, float] = {}  # the noise that makes each neuron fire
        self._set_norms()
        self.own.train(training)
        self.model, self.x, self.tolerance = self.own, self.own_x, 1e-4
        if self.own_dtype != torch.float64:
            wide = self.own_x.double() if self.own_x.is_floating_point() else self.own_x
            self.model, self.x, self.tolerance = deepcopy(self.own).double(), wide, 1e-6
            try:
                self.run(self.fresh())
            except Stopped as error:
                self.stopped = error
                self.model, self.x, self.tolerance = self.own, self.own_x, 1e-4
        own_steps = getattr(model, "time_steps", getattr(model, "T", None))
        given = self.x.shape[self.layout.index("T")] if "T" in self.layout else steps or own_steps
        self.steps = given if isinstance(given, int) else 0
        plain = self.record()
        self.outputs = plain.values[-1]
        self.neurons = self._neurons(plain)
        self.silent = [name for name, levels in self.neurons.items() if not bool(levels.any())]

    @property
    def own_dtype(self) -> torch.dtype:
        return next((p.dtype for p in self.own.parameters() if p.is_floating_point()), torch.float32)

    @property
    def precision(self) -> str:
        """What the runs are in: `float64`, or the model's own."""
        return str(torch.float64 if self.model is not self.own else self.own_dtype).removeprefix("torch.")

    def _set_norms(self) -> None:
        """Gives norms that have seen nothing the inputs' statistics, without which most neurons are silent."""
        unseen = [name for name, module in self.own.named_modules() if _is_unseen(module)]
        self.norms_set = len(unseen)
        if not unseen:
            return
        twin = deepcopy(self.own)
        for name in unseen:
            norm: Any = twin.get_submodule(name).train()
            norm.momentum = 1.0
        self.run(twin, self.own_x)
        with torch.no_grad():
            for name in unseen:
                mine, seen = self.own.get_submodule(name), twin.get_submodule(name)
                for (_, buffer), (_, value) in zip(mine.named_buffers(), seen.named_buffers(), strict=True):
                    buffer.copy_(value)

    def drive(self, event: Event, x: Tensor) -> Tensor | None:
        """Adds noise to a neuron's input, as much as it takes to fire: else its state does not show.

        Each module is judged by itself, so that its input need not be what the model gives it.
        """
        name = event.module
        if name not in self.neurons:
            return None
        noise = torch.Generator().manual_seed(event.call)
        drawn = torch.randn(x.shape, generator=noise, dtype=torch.float64).to(x)
        if name not in self.loud:
            for self.loud[name] in (2.0**k for k in range(-1, 16)):
                twin = deepcopy(self.model.get_submodule(name)).to(x.dtype)
                fired = tensors(twin(x + self.loud[name] * drawn))
                if fired and float(fired[0].ne(0).double().mean()) > _LIVELY:
                    break
        return x + self.loud[name] * drawn

    def fresh(self) -> nn.Module:
        """A copy of the model with no memory of other runs."""
        return deepcopy(self.model)

    def run(self, model: nn.Module, x: Tensor | None = None, tap: Tap | None = None, seed: int = 0) -> Any:
        """One call of a copy, without gradients, with random numbers from a seed. Raises `Stopped`."""
        with seeded(seed, self.own_x.device), torch.no_grad(), tapped(model, tap or _looking_away, self.neurons):
            return model((self.x if x is None else x).clone())

    def record(self, model: nn.Module | None = None, x: Tensor | None = None, *, driven: bool = False) -> Recording:
        recording = Recording(self.drive) if driven else Recording()
        self.run(self.fresh() if model is None else model, x, recording.tap)
        return recording

    @cached_property
    def reference(self) -> Recording:
        """The run of the whole batch, with neurons driven to fire."""
        return self.record(driven=True)

    @cached_property
    def places(self) -> dict[tuple[int, int], list[Samples]]:
        """Where the samples are in each tensor of the reference, from how shapes change with one sample less."""
        found: dict[tuple[int, int], list[Samples]] = {}
        try:
            fewer = self.record(x=self.x.narrow(self.batch_axis, 0, self.samples - 1))
        except Stopped:
            return found
        if fewer.events != self.reference.events:
            return found
        for i, (more, less) in enumerate(zip(self.reference.values, fewer.values, strict=True)):
            for leaf, (a, b) in enumerate(zip(more, less, strict=False)):
                found[i, leaf] = _shared(a.shape, b.shape, self.samples, self.layout)
        return found

    def another_input(self) -> Tensor:
        return another(self.x, self.batch_axis)

    def _neurons(self, plain: Recording) -> dict[str, Tensor]:
        """The levels of modules that emit spikes, known by kind or by deed: real numbers in, few whole ones out."""
        modules, emits, most = dict(self.model.named_modules()), {}, {}
        for event, inputs, outputs in plain.pairs():
            module = modules.get(event.module)
            if module is None or not outputs:
                continue
            by_deed = not _has_weights(module) and bool(inputs) and not _whole(inputs[0]) and _whole(outputs[0])
            if is_neuron(module) or by_deed:
                emits.setdefault(event.module, []).append(outputs[0].unique())
                most[event.module] = min(_MOST_LEVELS, max(2, most.get(event.module, 0) + outputs[0].numel() // 2))
        levels = {name: torch.cat(seen).unique() for name, seen in emits.items()}
        found: dict[str, Tensor] = {}
        for name in sorted(levels, key=lambda name: name.count(".")):  # a neuron's surrogate is not another neuron
            outer = any(name.startswith(f"{other}.") for other in found)
            if not outer and len(levels[name]) <= most[name]:  # Norse's LI, an integrator, emits real numbers
                found[name] = levels[name]
        return {name: found[name] for name in emits if name in found}


def _before_the_choice(model: Any) -> bool:
    """Lets a detector return what it computes before it chooses boxes, by their number; whether it is one.

    What is chosen, and so the heads on regions, has no gradient in evaluation and no shape that samples share.
    """
    if not (chooses := declared(getattr(model, "head", None) or model, "chooses")):
        return False
    model.forward = model.forward_outputs
    for part in model.modules():
        if declared(part, "on_regions"):
            part.requires_grad_(False)
    return bool(chooses)


def another(x: Tensor, batch_axis: int) -> Tensor:
    """Another input of the same kind: noise of the same spread on samples in another order."""
    x = x.flip(batch_axis)
    if not x.is_floating_point() or x.numel() < 2:
        return x
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=x.dtype).to(x.device)
    return 0.5 * x + noise * x.std().clamp_min(0.1)


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def check_layout(layout: str | None) -> None:
    """Raises ValueError for an unknown layout."""
    if layout is not None and layout not in LAYOUTS:
        raise ValueError(f"there is no layout {layout!r}: choose from {', '.join(LAYOUTS)}, T for time, B for samples")


def _shared(more: torch.Size, less: torch.Size, samples: int, layout: str) -> list[Samples]:
    """The axis of samples of shapes with `samples` and one less."""
    if len(more) != len(less):
        return []
    other = [dim for dim, (a, b) in enumerate(zip(more, less, strict=True)) if a != b]
    if len(other) != 1 or more[other[0]] * (samples - 1) != less[other[0]] * samples:
        return []
    alone = torch.Size(size // samples if dim == other[0] else size for dim, size in enumerate(more))
    return find_samples(more, alone, samples, layout)


def _is_unseen(module: nn.Module) -> bool:
    """Whether a batch norm's statistics are those that it was made with."""
    counted = getattr(module, "num_batches_tracked", None)
    return isinstance(module, nn.modules.batchnorm._BatchNorm) and counted is not None and not int(counted)


def _has_weights(module: nn.Module) -> bool:
    """Whether more than a neuron's own numbers, such as its decay, can be learnt in it."""
    torchs = (m for m in module.modules() if type(m).__module__.startswith("torch.nn."))
    return any(p.ndim > 1 for p in module.parameters()) or any([*m.parameters(recurse=False)] for m in torchs)


def _looking_away(event: Event, module: nn.Module, tree: Any) -> Any:
    return tree


def _whole(x: Tensor) -> bool:
    return not x.is_complex() and bool((x == x.round()).all())
