"""A trained model as a program of sparse products."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from spikeformers.deploy.engine.fuse import fused
from spikeformers.deploy.engine.graph import Node, encode
from spikeformers.deploy.engine.plan import make_steps
from spikeformers.files import atomic_path
from spikeformers.ops.spike_product import Neuron
from spikeformers.ops.spike_product.build import processor

_CACHE = 1 << 20  # bytes of the largest value: what a core's own cache holds
_TRIALS = 3  # of each way of a product, of which the fastest counts


@dataclass(frozen=True)
class PlanRow:
    """One step of an engine: `density` is the share of inputs that are not 0, `share` that of the time."""

    layer: str
    what: str
    way: str
    density: float | None
    share: float


class SpikeEngine(nn.Module):
    """A model for inference on a CPU: `[B, C, H, W]` or `[T, B, C, H, W] -> [B, K]`, as the model it was made of.

    `plan` says what each step does, `foreign` which neurons torch computes because the kernels do not know them.
    `spike_engine` makes one, `load_engine` reads one.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        constants: dict[str, Tensor],
        neurons: Sequence[Neuron],
        ends: Sequence[str],
        shape: Sequence[int],
        dtype: torch.dtype,
        foreign: Sequence[str] = (),
    ):
        super().__init__()
        self.nodes, self.constants, self.neurons = list(nodes), constants, list(neurons)
        self.input, *self.outputs = ends  # of a classifier: features and logits
        self.shape, self.dtype, self.foreign = tuple(shape), dtype, tuple(foreign)
        self.num_classes = next((int(n.shape[-1]) for n in self.nodes if n.name == self.outputs[-1] and n.shape), 0)
        self.images_at_once = 1  # a thread
        joined, self._made = fused(self.nodes, self.outputs, constants, self.neurons)
        self.steps, self.kinds = make_steps(joined, constants, self.neurons, self._made, dtype)
        self.seconds: dict[str, float] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Logits, averaged over time: `[B, C, H, W]` or `[T, B, C, H, W] -> [B, K]`."""
        return self.forward_steps(x).mean(0)

    def forward_steps(self, x: Tensor) -> Tensor:
        """Logits at every step: `[T, B, K]`."""
        return self._answers(x, self._made[-1:])[0]

    def forward_features(self, x: Tensor) -> Tensor:
        """The stream after the last block: `[T, B, D, H / s, W / s]`."""
        return self._answers(x, self._made[:1])[0]

    def forward_pyramid(self, x: Tensor) -> list[Tensor]:
        """All outputs: the levels of a detector's pyramid, `[[T, B, D, H / p, W / p], ...]`."""
        return self._answers(x, self._made)

    @property
    def plan(self) -> list[PlanRow]:
        """The steps that compute, in order. Shares of time are 0 for an engine that was read from a file.

        What the shares lack of 1 is taken by views and copies, which are not listed.
        """
        total = sum(self.seconds.values()) or 1.0
        return [
            PlanRow(step.name, step.what, step.way, step.density, self.seconds.get(step.writes[0], 0.0) / total)
            for step in self.steps
            if step.what != "move"
        ]

    def tune(self, batches: Iterable[Tensor]) -> None:
        """Chooses the way of each product by timing both on `batches`, and notes densities and times."""
        ways: dict[str, dict[str, float]] = {}
        dense: dict[str, list[float]] = {}
        self.seconds = {}
        largest = 1
        for x in batches:
            check_batch(x)
            self._check(x)
            values = self._given(x)
            for step in self.steps:
                name = step.writes[0]
                read = values.get(step.reads[0]) if step.what == "product" else None
                if read is not None:
                    dense.setdefault(name, []).append(float(read.count_nonzero()) / read.numel())
                for way in step.ways if len(step.ways) > 1 else (step.way,):
                    spent = min(_timed(step.ways[way], values) for _ in range(_TRIALS))
                    taken = ways.setdefault(name, {})
                    taken[way] = taken.get(way, 0.0) + spent
                made = (values[write] for write in step.writes)
                largest = max(largest, *(y.nbytes // x.shape[-4] for y in made if isinstance(y, Tensor)), 1)
                for old in step.frees:
                    values.pop(old, None)
        self.images_at_once = max(1, _CACHE // largest)
        if not ways:
            raise ValueError("there is no batch to plan the engine with: give at least one")
        for step in self.steps:
            taken = ways[step.writes[0]]
            step.way = min(taken, key=taken.__getitem__)
            self.seconds[step.writes[0]] = taken[step.way]
            if seen := dense.get(step.writes[0]):
                step.density = sum(seen) / len(seen)

    def save(self, path: str | Path) -> Path:
        """Writes the engine as one safetensors file, its program as JSON inside, and returns it."""
        path = Path(path)
        if path.suffix != ".safetensors":
            raise ValueError(f"{path} is no .safetensors file: give a name that ends so")
        program = {
            "nodes": [[n.name, n.op, encode(n.args), encode(n.kwargs), n.shape] for n in self.nodes],
            "neurons": [neuron.describe() for neuron in self.neurons],
            "ends": [self.input, *self.outputs],
            "shape": self.shape,
            "dtype": str(self.dtype).removeprefix("torch."),
            "foreign": self.foreign,
            "images_at_once": self.images_at_once,
            "ways": {step.writes[0]: [step.way, step.density] for step in self.steps if len(step.ways) > 1},
            "processor": processor(),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as unfinished:
            save_file(
                {k: v.contiguous() for k, v in self.constants.items()}, unfinished, {"engine": json.dumps(program)}
            )
        return path

    def _answers(self, x: Tensor, names: Sequence[str]) -> list[Tensor]:
        """Values `[T, B, ...]`, of as many images at a time as a cache holds."""
        self._check(x)
        parts = x.split(self.images_at_once * torch.get_num_threads(), x.ndim - 4)
        found = [self._run(part) for part in parts]
        whole = [torch.cat([one[name] for one in found], 1) if len(parts) > 1 else found[0][name] for name in names]
        kinds = [self.kinds[name] for name in names]
        numbers = [y if k is None else y.to(torch.float32) * k.unit for y, k in zip(whole, kinds, strict=True)]
        return [y.clone() if y.is_inference() else y for y in numbers]  # so that a probe can be trained on them

    def _check(self, x: Tensor) -> None:
        if not x.is_floating_point():
            raise ValueError(
                f"an input of {x.dtype} is no floating-point one: use x.to(torch.float32), scaled like the training "
                "images (pictures by 1 / 255)"
            )
        if x.ndim != len(self.shape) or (*x.shape[:-4], *x.shape[-3:]) != (*self.shape[:-4], *self.shape[-3:]):
            wanted = [size if axis != len(self.shape) - 4 else "B" for axis, size in enumerate(self.shape)]
            raise ValueError(
                f"an input of shape {list(x.shape)} is not {wanted}, which this engine was made for: "
                "make another with spike_engine"
            )

    def _given(self, x: Tensor) -> dict[str, Any]:
        x = x.detach().to("cpu", torch.float32)
        if x.ndim == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        return {**self.constants, self.input: x}

    @torch.compiler.disable()  # torch.compile passes over the steps
    @torch.inference_mode()
    def _run(self, x: Tensor) -> dict[str, Any]:
        values = self._given(x)
        for step in self.steps:
            step.ways[step.way](values)
            for name in step.frees:
                values.pop(name, None)
        return values


def check_batch(x: Any) -> None:
    """Raises ValueError for what is no batch of at least one image."""
    if not isinstance(x, Tensor):
        raise ValueError(f"a batch is a {type(x).__name__}, not a tensor: give images alone, without their labels")
    if x.ndim not in (4, 5) or not x.shape[-4]:
        raise ValueError(f"a batch of shape {list(x.shape)} is not [B, C, H, W] or [T, B, C, H, W] with an image")


def _timed(run: Any, values: dict[str, Any]) -> float:
    begun = time.thread_time() if torch.get_num_threads() == 1 else time.perf_counter()
    run(values)
    return (time.thread_time() if torch.get_num_threads() == 1 else time.perf_counter()) - begun
