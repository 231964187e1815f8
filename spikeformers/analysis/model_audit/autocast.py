"""Spikes that flip because a neuron's membrane follows its input into low precision."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from spikeformers.analysis.model_audit.leaks import kind_of, percent
from spikeformers.analysis.model_audit.result import Check, Found
from spikeformers.analysis.model_audit.runs import IN, Event, Stopped, first_current, tapped, tensors, with_leaf
from spikeformers.analysis.model_audit.subject import Subject, seeded

_LOW = torch.bfloat16


def check_autocast(subject: Subject) -> Check:
    """Replays what each neuron got under autocast in float32, from the same numbers: rounding upstream is no fault."""
    if subject.own_dtype != torch.float32:
        return Check("autocast", note=f"the model is in {_word(subject.own_dtype)}, not float32", checked=False)
    seen: dict[str, list[tuple[Any, list[Tensor]]]] = {}
    waiting: dict[str, Any] = {}

    def tap(event: Event, module: nn.Module, tree: Any) -> Any:
        if event.module in subject.neurons:
            if event.side == IN:
                leaf = first_current(tree)
                driven = None if leaf is None else subject.drive(event, tensors(tree)[leaf])
                tree = tree if leaf is None or driven is None else with_leaf(tree, leaf, driven)
                waiting[event.module] = tree_map(_copied, tree)
            else:
                seen.setdefault(event.module, []).append(
                    (waiting.pop(event.module), [y.clone() for y in tensors(tree)])
                )
        return tree

    device = subject.own_x.device
    with seeded(0, device), torch.no_grad():
        plain = tensors(deepcopy(subject.own)(subject.own_x.clone()))
    low = deepcopy(subject.own)
    try:
        with seeded(0, device), torch.no_grad(), torch.autocast(device.type, _LOW), tapped(low, tap, subject.neurons):
            result = tensors(low(subject.own_x.clone()))
    except Stopped as error:
        says = f"fails under autocast: {error}"
        return Check("autocast", (Found(error.module, kind_of(subject, error.module), 1, says),))
    found = [one for name, calls in seen.items() if (one := _flips(subject, name, calls)) is not None]
    apart = max((float((a.float() - b.float()).abs().max()) for a, b in zip(plain, result, strict=True)), default=0.0)
    note = f"bfloat16 on {device.type}; the model's output is up to {apart:.3g} from float32's"
    return Check("autocast", tuple(found), note)


def _flips(subject: Subject, name: str, calls: list[tuple[Any, list[Tensor]]]) -> Found | None:
    neuron, flipped, compared = deepcopy(subject.own.get_submodule(name)), 0, 0
    given = _word(next((x.dtype for x in tensors(calls[0][0])), torch.float32))
    with seeded(0, subject.own_x.device), torch.no_grad():
        for (args, kwargs), outputs in calls:
            wide = tensors(neuron(*tree_map(_widened, args), **tree_map(_widened, kwargs)))
            flipped += int((wide[0].float() != outputs[0].float()).sum())
            compared += outputs[0].numel()
    if not flipped:
        return None
    share = flipped / max(compared, 1)
    says = f"{percent(share)} of its spikes flip with a membrane in the precision of its input, {given}"
    return Found(name, kind_of(subject, name), share, says)


def _copied(x: Any) -> Any:
    return x.clone() if isinstance(x, Tensor) else x


def _widened(x: Any) -> Any:
    return x.float() if isinstance(x, Tensor) and x.is_floating_point() else x


def _word(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
