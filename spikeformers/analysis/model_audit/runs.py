"""Following two runs of a model, module by module, to find where they begin to differ.

Every difference is mended where it is found, so that each module is judged by itself, on inputs as they should be.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from spikeformers.memory import is_shortage

IN, OUT = "in", "out"
ROOT = "the model itself"  # where nothing but the outermost forward is to blame


@dataclass(frozen=True)
class Event:
    """A module called (`in`) or done (`out`): its name, its parent's, and how many calls of it came before."""

    module: str
    parent: str
    side: str
    call: int


Tap = Callable[
    [Event, nn.Module, Any], Any
]  # is shown inputs `(args, kwargs)` or an output, and returns them or others


class Stopped(Exception):
    """What a model raised, with the innermost module that was running."""

    def __init__(self, module: str, error: Exception):
        super().__init__(f"{type(error).__name__}: {' '.join(str(error).split()) or 'no message'} (in {module})")
        self.module = module


@contextmanager
def tapped(model: nn.Module, tap: Tap, opaque: Collection[str] = ()) -> Iterator[None]:
    """Shows `tap` every module's inputs and outputs, but nothing inside `opaque` ones.

    Errors of the model become `Stopped`.
    """
    stack: list[tuple[str, int]] = []
    calls: dict[str, int] = {}

    def enter(name: str, module: nn.Module, args: Any, kwargs: Any) -> Any:
        event = Event(name, stack[-1][0] if stack else "", IN, calls.get(name, 0))
        stack.append((name, event.call))
        calls[name] = event.call + 1
        return tap(event, module, (args, kwargs))

    def leave(name: str, module: nn.Module, args: Any, output: Any) -> Any:
        _, call = stack.pop()
        return tap(Event(name, stack[-1][0] if stack else "", OUT, call), module, output)

    with ExitStack() as on:
        for name, module in model.named_modules():
            inside = any(name.startswith(f"{outer}.") for outer in opaque)
            if not (inside or isinstance(module, torch.jit.ScriptModule)):
                name = name or ROOT
                on.callback(module.register_forward_pre_hook(partial(enter, name), with_kwargs=True).remove)
                on.callback(module.register_forward_hook(partial(leave, name)).remove)
        if any(m._compiled_call_impl is not None for m in model.modules()):
            on.enter_context(torch.compiler.set_stance("force_eager"))
        try:
            yield
        except Exception as error:
            if is_shortage(error):
                raise
            raise Stopped(stack[-1][0] if stack else ROOT, error) from error


def tensors(tree: Any) -> list[Tensor]:
    return [x for x in tree_leaves(tree) if isinstance(x, Tensor) and x.layout == torch.strided]


def first_current(tree: Any) -> int | None:
    """The place of a neuron's input among its tensors: what comes after it are states."""
    return next((i for i, x in enumerate(tensors(tree)) if x.is_floating_point()), None)


def with_leaf(tree: Any, leaf: int, value: Tensor) -> Any:
    """A tree with another tensor in one place."""
    places = iter(range(len(tensors(tree))))

    def replaced(x: Any) -> Any:
        is_one = isinstance(x, Tensor) and x.layout == torch.strided
        return value if is_one and next(places) == leaf else x

    return tree_map(replaced, tree)


@dataclass
class Recording:
    """All events of a run with copies of their tensors. Spikes and other small integers are kept as bytes.

    `drive(event, x)` may give neurons another input; `put` has these, with their place among the event's tensors.
    """

    drive: Callable[[Event, Tensor], Tensor | None] = lambda event, x: None
    events: list[Event] = field(default_factory=list)
    values: list[list[Tensor]] = field(default_factory=list)
    put: dict[int, tuple[int, Tensor]] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)
    _last: deque[tuple[Tensor, int, Tensor]] = field(default_factory=lambda: deque(maxlen=8))

    def tap(self, event: Event, module: nn.Module, tree: Any) -> Any:
        self.events.append(event)
        self.values.append([self._kept(x.detach()) for x in tensors(tree)])
        if event.side == IN:
            self.calls[event.module] = event.call + 1
            leaf = first_current(tree)
            driven = None if leaf is None else self.drive(event, tensors(tree)[leaf])
            if leaf is not None and driven is not None:
                self.put[len(self.events) - 1] = leaf, driven
                return with_leaf(tree, leaf, driven)
        return tree

    def _kept(self, x: Tensor) -> Tensor:
        for known, version, kept in self._last:  # an output is the next module's input
            same = known.data_ptr() == x.data_ptr() and known.shape == x.shape and known.stride() == x.stride()
            if same and known.dtype == x.dtype and version == x._version:
                return kept
        kept = x.to(torch.int8) if x.is_floating_point() else x.clone()
        if x.is_floating_point() and not torch.equal(kept.to(x.dtype), x):
            kept = x.clone()
        self._last.append((x, x._version, kept))
        return kept

    def pairs(self) -> Iterator[tuple[Event, list[Tensor], list[Tensor]]]:
        """Each call of a module, innermost first: its end, its inputs and its outputs."""
        begun: list[int] = []
        for i, event in enumerate(self.events):
            if event.side == IN:
                begun.append(i)
            else:
                yield event, self.values[begun.pop()], self.values[i]


@dataclass
class Blame:
    """How a module's output, or what it passes to a module inside it, differs from what it should be."""

    module: str
    inside: str = ""  # the module inside it whose input was first to differ
    changed: int = 0  # numbers that differ
    compared: int = 0
    largest: float = 0.0  # difference

    @property
    def share(self) -> float:
        return self.changed / max(self.compared, 1)


Expected = tuple[Tensor, int]  # what a tensor should be, and how many numbers of it that fixes; 0 to put it there
Expect = Callable[[int, int, Tensor, Tensor], Expected | None]


@dataclass
class Following:
    """A run that is compared with a recorded one, and mended where it differs.

    `expect(index, leaf, known, seen)` says what the tensor seen at an event should be, from the one that was recorded,
    or None where nothing can be said.
    Differences of modules in `excused` are mended, and blamed on nobody. `lost` is the module at which the run took
    another way through the model than the recorded one.
    """

    recording: Recording
    expect: Expect
    tolerance: float
    excused: frozenset[str] = frozenset()
    first: int = 0  # events before it are not compared
    blames: dict[str, Blame] = field(default_factory=dict)
    lost: str = ""
    _at: int = -1

    def tap(self, event: Event, module: nn.Module, tree: Any) -> Any:
        self._at += 1
        known = self.recording.events
        if self.lost or self._at >= len(known) or known[self._at] != event:
            self.lost = self.lost or event.module
            return tree
        if self._at < self.first:
            return tree
        leaf, recorded = -1, self.recording.values[self._at]

        def mended(x: Any) -> Any:
            nonlocal leaf
            if not isinstance(x, Tensor) or x.layout != torch.strided:
                return x
            leaf += 1
            expected = self.expect(self._at, leaf, recorded[leaf], x) if leaf < len(recorded) else None
            if expected is None:
                return x
            wanted, compared = expected
            if not compared:
                return wanted.to(x.dtype)
            difference = differences(x, wanted, self.tolerance)
            if difference is None:
                return x
            if event.side == OUT:
                self._blame(event.module, "", *difference, compared)
            elif event.parent:
                self._blame(event.parent, event.module, *difference, compared)
            return wanted.to(x.dtype)

        tree = tree_map(mended, tree)
        if self._at in self.recording.put:
            leaf, driven = self.recording.put[self._at]
            expected = self.expect(self._at, leaf, driven, tensors(tree)[leaf])
            tree = with_leaf(tree, leaf, driven if expected is None else expected[0])
        return tree

    def _blame(self, module: str, inside: str, changed: int, largest: float, compared: int) -> None:
        if module in self.excused:
            return
        blame = self.blames.setdefault(module, Blame(module, inside))
        blame.changed += changed
        blame.compared += compared
        blame.largest = max(blame.largest, largest)


def differences(seen: Tensor, wanted: Tensor, tolerance: float) -> tuple[int, float] | None:
    """The count of numbers that differ, and the largest difference; None if there is none beyond the tolerance."""
    if seen.shape != wanted.shape:
        if bool(seen.any()) or bool(wanted.any()):
            return max(seen.numel(), 1), float("inf")
        return None  # a state that begins as a single 0, or as nothing, is the same as zeros
    if not seen.numel() or torch.equal(seen, wanted.to(seen.dtype)):
        return None
    if seen.is_complex():
        seen, wanted = torch.view_as_real(seen), torch.view_as_real(wanted.to(seen.dtype))
    if not seen.is_floating_point() or seen.dtype in (torch.float16, torch.bfloat16):
        seen = seen.double()
    wanted = wanted.to(seen.dtype)
    apart = (seen - wanted).abs()
    apart = torch.where((seen == wanted) | (seen.isnan() & wanted.isnan()), 0.0, apart).nan_to_num(nan=float("inf"))
    finite = wanted.abs().nan_to_num(0.0, 0.0, 0.0)
    beyond = apart > tolerance * max(1.0, float(finite.max()))
    changed = int(beyond.sum())
    return (changed, float(apart.max())) if changed else None
