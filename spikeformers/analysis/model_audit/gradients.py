"""Health of gradients: where they stop, vanish or cease to be finite."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from spikeformers.analysis.model_audit.leaks import kind_of
from spikeformers.analysis.model_audit.result import Check, Found
from spikeformers.analysis.model_audit.runs import IN, OUT, ROOT, Event, Stopped, tapped, tensors
from spikeformers.analysis.model_audit.subject import Subject, seeded


class _Watch:
    """What one training step shows of the tensors between modules."""

    def __init__(self, varies: Collection[Event]) -> None:
        self.varies = varies  # events whose tensors depend on the batch: a constant has no gradient to lose
        self.cut: dict[str, tuple[str, int]] = {}  # module: what it passes on inside it, with no gradient any more
        self.detached: dict[str, tuple[str, int]] = {}  # module: what it passes on without a gradient, and its size
        self.infinite: dict[str, int] = {}  # module with finite inputs: its outputs that are not
        self.calls: list[tuple[str, int]] = []  # in the order in which they end
        self.gradients: dict[tuple[str, int, str], list[tuple[bool, bool]]] = {}  # finite, not all 0
        self._open: list[tuple[str, bool, bool]] = []  # module, whether a gradient comes in, whether inputs are finite

    def tap(self, event: Event, module: nn.Module, tree: Any) -> Any:
        found = [x for x in tensors(tree) if x.is_floating_point()]
        with_gradient = any(x.requires_grad for x in found)
        finite = all(bool(x.isfinite().all()) for x in found)
        if event.side == IN:
            if self._open and self._open[-1][1] and found and not with_gradient and event in self.varies:
                self.cut.setdefault(event.parent, (f"what it passes to {event.module}", _size(found)))
            self._open.append((event.module, with_gradient, finite))
        else:
            self.calls.append((event.module, event.call))
            _, came, was_finite = self._open.pop()
            if self._open and with_gradient:
                self._open[-1] = (self._open[-1][0], True, self._open[-1][2])
            learns = came or any(p.requires_grad for p in module.parameters(recurse=False))
            if (
                found
                and learns
                and not with_gradient
                and event in self.varies
                and not _within(event.module, self.detached)
            ):
                self.detached.setdefault(event.module, ("its output", _size(found)))
                for x in found:
                    x.requires_grad_()  # so that what follows is judged by itself
            if was_finite and not finite and not _within(event.module, self.infinite):
                self.infinite[event.module] = sum(int((~x.isfinite()).sum()) for x in found)
        for x in found:
            if x.requires_grad:
                seen = self.gradients.setdefault((event.module, event.call, event.side), [])
                x.register_hook(_looking(seen))
        return tree

    def begins(self, fine: Callable[[bool, bool], bool]) -> Iterator[str]:
        """The innermost modules whose output's gradient is fine and whose input's is not."""
        blamed: dict[str, None] = {}
        for name, call in self.calls:
            outer, inner = (self.gradients.get((name, call, side), []) for side in (OUT, IN))
            begins = outer and inner and any(fine(*x) for x in outer) and not any(fine(*x) for x in inner)
            if begins and not _within(name, blamed):
                blamed[name] = None
        yield from blamed


def check_gradients(subject: Subject) -> Check:
    """One training step with a random linear loss."""
    model, watch = (
        subject.fresh().train(),
        _Watch({subject.reference.events[index] for (index, _), axes in subject.places.items() if axes}),
    )
    for p in model.parameters():
        p.grad = None
    try:
        with seeded(0, subject.x.device), torch.enable_grad(), tapped(model, watch.tap, subject.neurons):
            outputs = [y for y in tensors(model(subject.x.clone())) if y.is_floating_point() and y.requires_grad]
            if outputs:
                noise = torch.Generator().manual_seed(0)
                draws = [torch.randn(y.shape, generator=noise, dtype=y.dtype).to(y.device) for y in outputs]
                torch.stack([(y * draw).sum() for y, draw in zip(outputs, draws, strict=True)]).sum().backward()
    except Stopped as error:
        says = f"fails in a training step: {error}"
        return Check("gradients", (Found(error.module, kind_of(subject, error.module), 1, says),))
    return Check("gradients", tuple(_found(subject, model, watch)), "in training mode, with a random linear loss")


def _found(subject: Subject, model: nn.Module, watch: _Watch) -> Iterator[Found]:
    learnt = {name: p for name, p in model.named_parameters() if p.requires_grad}
    without = [name for name, p in learnt.items() if p.grad is None]
    called = {name for name, _ in watch.calls}
    for name, count in watch.infinite.items():
        yield Found(name, kind_of(subject, name), count, f"{count} numbers of its output are not finite")
    lost = {**watch.detached, **(watch.cut if without else {})}  # an input's own encoding has no gradient to lose
    for name, (what, size) in lost.items():
        says = f"{what} carries no gradient, but should; {_of(without)} of the model get none"
        yield Found(name, kind_of(subject, name), size, says)
    idle: dict[str, list[str]] = {}
    for name in without:
        owner = name.rpartition(".")[0] or ROOT
        if owner not in called or not lost:
            idle.setdefault(owner, []).append(name)
    for owner, names in idle.items():
        why = "" if owner in called else ": the module is not called"
        yield Found(owner, kind_of(subject, owner), len(names), f"{_of(names)} get no gradient{why}")
    bad = [name for name, p in learnt.items() if p.grad is not None and not bool(p.grad.isfinite().all())]
    begins = [*watch.begins(lambda finite, alive: finite)]
    owners = begins or list(dict.fromkeys(name.rpartition(".")[0] or ROOT for name in bad))
    for name in owners:
        says = f"gradients stop being finite here; {_of(bad)} get gradients that are not finite"
        yield Found(name, kind_of(subject, name), len(bad), says)
    dead = [name for name, p in learnt.items() if p.grad is not None and p.ndim > 1 and not bool(p.grad.any())]
    if dead:
        modules = dict(model.named_modules())
        for name in watch.begins(lambda finite, alive: alive):
            own = [*modules.get(name, model).parameters()] if name != ROOT else []
            if not any(not bool(p.any()) for p in own):  # weights that begin at 0 stop a gradient once
                says = f"its output gets a gradient, but its input's is all 0, and so is that of {_of(dead)}"
                yield Found(name, kind_of(subject, name), len(dead), says)


def _of(names: list[str]) -> str:
    """`3 parameters (the first is stem.conv.weight)`"""
    if not names:
        return "no parameters"
    return f"{len(names)} parameters (the first is {names[0]})" if len(names) > 1 else f"parameter {names[0]}"


def _within(name: str, blamed: Any) -> bool:
    return any(name in (ROOT, other) or other.startswith(f"{name}.") for other in blamed)


def _size(found: list[Tensor]) -> int:
    return sum(x.numel() for x in found)


def _looking(seen: list[tuple[bool, bool]]) -> Callable[[Tensor], None]:
    def look(gradient: Tensor) -> None:
        seen.append((bool(gradient.isfinite().all()), bool(gradient.any())))

    return look
