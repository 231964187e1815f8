"""Speed and memory of models, and of their bare matrix products as a lower bound.

Whole steps are measured: training is forward, loss and backward; evaluation is forward, of a detector with its choice
of boxes.
"""

import contextlib
import os
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from spikeformers.analysis.inference_ways import INFERENCE_WAYS
from spikeformers.ops.spike_product import without_kernels

Loss = Callable[[nn.Module, Tensor], Tensor]

_PRODUCTS = ("convolution", "convolution_backward", "mm", "addmm", "bmm", "baddbmm", "addbmm", "mv", "addmv", "dot")


@dataclass(frozen=True)
class Speed:
    """Speed and memory of one way of running a model.

    Attributes:
        way: its name.
        training: seconds per step, median; None for a way that only evaluates.
        evaluation: seconds per step, median.
        peak: peak memory of a training step in MiB, besides the model itself; None for a way that only evaluates.
        first: seconds of the first training and evaluation steps together, including compilation.
    """

    way: str
    training: float | None
    evaluation: float
    peak: float | None
    first: float


def bench(
    ways: Mapping[str, nn.Module],
    x: Tensor | Mapping[str, Tensor],
    *,
    bf16: bool = False,
    repeats: int = 5,
    after: Callable[[nn.Module], Any] = lambda model: None,
    losses: Mapping[str, Loss] | None = None,
) -> list[Speed]:
    """Times several models in turns, so that a noisy machine disturbs all alike.

    Args:
        ways: models by name.
        x: one input for all models, or a mapping from name to input.
        bf16: whether to run under bf16 autocast.
        repeats: timed steps per model.
        after: called with the model after each step, outside the timing; SpikingJelly's models need a reset.
        losses: loss functions by name, called with a model and its input; a model without one gets `plain_loss`.

    Returns:
        Speed and memory of each model, in the order of `ways`.
    """
    seconds: dict[str, dict[bool, list[float]]] = {way: {True: [], False: []} for way in ways}
    first = dict.fromkeys(ways, 0.0)
    inputs = x if isinstance(x, Mapping) else dict.fromkeys(ways, x)
    peaks, trained = {}, {way: (losses or {}).get(way, plain_loss) for way in ways}
    for training in (True, False):
        running = {way: model for way, model in ways.items() if not training or way not in INFERENCE_WAYS}
        for way, model in running.items():
            model.train(training)
            first[way] += _timed(model, inputs[way], training, bf16, trained[way])
            after(model)
            if training:
                peaks[way] = _peak(model, inputs[way], bf16, trained[way])
                after(model)
        for _ in range(repeats):
            for way, model in running.items():
                seconds[way][training].append(_timed(model, inputs[way], training, bf16, trained[way]))
                after(model)
    middle = {
        way: {mode: statistics.median(times) if times else None for mode, times in modes.items()}
        for way, modes in seconds.items()
    }
    return [Speed(way, middle[way][True], middle[way][False] or 0.0, peaks.get(way), first[way]) for way in ways]


def bare_products(model: nn.Module, x: Tensor, *, bf16: bool = False, repeats: int = 5) -> tuple[float, float]:
    """Times the matrix products and convolutions of a step alone, on tensors of the same shapes and layouts.

    Args:
        model: the model whose products are timed.
        x: its input.
        bf16: whether to run under bf16 autocast.
        repeats: timed calls per product.

    Returns:
        Seconds of a training step and of an evaluation step.
    """
    seconds = []
    for training in (True, False):
        model.train(training)
        with without_kernels(), _Products() as products:  # what a kernel computes would not be seen
            _step(model, x, training, bf16)
        seconds.append(sum(count * _alone(call, repeats) for call, count in products.calls.items()))
    return seconds[0], seconds[1]


def plain_loss(model: Any, x: Tensor) -> Tensor:
    """A loss of a model on inputs without targets: cross-entropy, or, of a detector or segmenter, its mean outputs."""
    if getattr(model, "task", "classification") != "classification":  # a detector's losses would need targets
        return torch.stack([output.float().mean() for output in model.forward_outputs(x).values()]).sum()
    outputs = model(x)
    logits = outputs.mean(0) if outputs.ndim == 3 else outputs  # some models of SpikingJelly return T B K
    return cross_entropy(logits, torch.arange(len(logits), device=x.device) % logits.shape[-1])


def _step(model: nn.Module, x: Tensor, training: bool, bf16: bool, loss: Loss = plain_loss) -> None:
    autocast = torch.autocast(x.device.type, torch.bfloat16) if bf16 else contextlib.nullcontext()
    with autocast, torch.set_grad_enabled(training):
        if not training:
            model(x)
            return
        value = loss(model, x)
    value.backward()
    model.zero_grad()


def _timed(model: nn.Module, x: Tensor, training: bool, bf16: bool, loss: Loss) -> float:
    _wait(x)
    start = time.perf_counter()
    _step(model, x, training, bf16, loss)
    _wait(x)
    return time.perf_counter() - start


def _wait(x: Tensor) -> None:
    if x.device.type == "cuda":
        torch.cuda.synchronize()


def _peak(model: nn.Module, x: Tensor, bf16: bool, loss: Loss) -> float:
    """Peak MiB of tensors, gradients included, in a training step, beyond those that exist before it."""
    if x.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        _step(model, x, True, bf16, loss)
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler logs each start, and a missing GPU as an error
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
        _step(model, x, True, bf16, loss)
    changes = [e for e in watched.profiler.kineto_results.events() if e.name() == "[memory]"]  # pyright: ignore[reportOptionalMemberAccess]
    alive = most = 0
    for event in sorted(changes, key=lambda e: e.start_ns()):
        alive += event.nbytes()  # pyright: ignore[reportAttributeAccessIssue]
        most = max(most, alive)
    return most / 2**20


class _Products(TorchDispatchMode):
    """Records products as operator and arguments, with tensors reduced to shape, stride and dtype."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[tuple[Any, tuple, tuple]] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, named = func.overloadpacket.__name__, kwargs or {}
        if name in _PRODUCTS or name.startswith("_scaled_dot_product"):
            self.calls[func, tuple(map(_frozen, args)), tuple((key, _frozen(named[key])) for key in named)] += 1
        return func(*args, **named)


@dataclass(frozen=True)
class _Like:
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device

    def made(self) -> Tensor:
        made = torch.empty_strided(self.shape, self.stride, dtype=self.dtype, device=self.device)
        return made.normal_() if self.dtype.is_floating_point else made.zero_()


def _frozen(value: Any) -> Any:
    if isinstance(value, Tensor):
        return _Like(tuple(value.shape), value.stride(), value.dtype, value.device)
    return tuple(value) if isinstance(value, list) else value


def _alone(call: tuple[Any, tuple, tuple], repeats: int) -> float:
    operator, *arguments = call
    made, named = tree_map_only(_Like, lambda like: like.made(), [list(arguments[0]), dict(arguments[1])])
    devices = [argument for argument in made if isinstance(argument, Tensor)]
    times = []
    for _ in range(repeats + 1):
        _wait(devices[0])
        start = time.perf_counter()
        operator(*made, **named)
        _wait(devices[0])
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


@contextlib.contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Sets the number of CPU threads inside the `with` block; None changes nothing."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
