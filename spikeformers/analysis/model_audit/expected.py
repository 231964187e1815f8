"""What a tensor of one run should be, from those of another."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from spikeformers.analysis.model_audit.layout import Samples, find_steps
from spikeformers.analysis.model_audit.runs import Expect, Expected
from spikeformers.analysis.model_audit.subject import Subject, another


def as_recorded(index: int, leaf: int, known: Tensor, seen: Tensor) -> Expected | None:
    """What it was."""
    return known, seen.numel()


def alone(subject: Subject, sample: int) -> Expect:
    """What a sample alone should be: its share of the batch, in whichever order of a flattened axis fits."""

    def expect(index: int, leaf: int, known: Tensor, seen: Tensor) -> Expected | None:
        ways = subject.places.get((index, leaf), [])
        if not ways:  # does not depend on the batch, or holds it in a way of its own
            return (known, seen.numel()) if known.shape == seen.shape else None
        taken = [way.take(known, sample) for way in ways]
        fits = [i for i, one in enumerate(taken) if _agree(one, seen, subject.tolerance)]
        if fits and len(fits) < len(ways):
            subject.places[index, leaf] = [ways[i] for i in fits]  # the others are ruled out
        return taken[fits[0] if fits else 0], seen.numel()

    return expect


def flipped(subject: Subject) -> Expect:
    """What the batch in reverse order should be, in whichever order of a flattened axis fits."""

    def expect(index: int, leaf: int, known: Tensor, seen: Tensor) -> Expected | None:
        turned = [way.flipped(known) for way in subject.places.get((index, leaf), [])]
        if not turned:
            return None
        return next((one for one in turned if _agree(one, seen, subject.tolerance)), turned[0]), seen.numel()

    return expect


def _agree(wanted: Tensor, seen: Tensor, tolerance: float) -> bool:
    if wanted.shape != seen.shape:
        return False
    wanted = wanted.to(seen.dtype)
    return torch.equal(wanted, seen) or torch.allclose(wanted, seen, rtol=tolerance, atol=tolerance, equal_nan=True)


def find_times(subject: Subject) -> dict[tuple[int, int], int | str]:
    """Of each tensor of the reference: what puts time on axis 1, or `call` where each step is a call of its own."""
    recording, times = subject.reference, {}
    for i, event in enumerate(recording.events):
        for leaf, value in enumerate(recording.values[i]):
            ways: list[Samples] = subject.places.get((i, leaf), [])
            pre = find_steps(value.shape, ways[0], subject.steps, subject.layout) if ways else None
            if pre is not None:
                times[i, leaf] = pre
            elif ways and recording.calls[event.module] == subject.steps:
                times[i, leaf] = "call"
    return times


def before(subject: Subject, times: Mapping[tuple[int, int], int | str], start: tuple[int, int], step: int) -> Expect:
    """What is known of a tensor when the tensor `start` changes from `step` on: all that comes before."""
    recording = subject.reference

    def expect(index: int, leaf: int, known: Tensor, seen: Tensor) -> Expected | None:
        time = times.get((index, leaf))
        if time is None or known.shape != seen.shape:
            return None
        driven = index in recording.put and known is recording.put[index][1]
        known, event = known.to(seen.dtype), recording.events[index]
        if (index, leaf) == start or driven:  # a change of its own, which nothing before it may show
            seen = another(known, subject.places[index, leaf][0].dim)
        if time == "call":
            return (known, seen.numel()) if event.call < step else (seen, 0) if driven else None
        if (index, leaf) == start and not driven:
            return _joined(known, seen, int(time), step, subject.steps), 0
        return _joined(known, seen, int(time), step, subject.steps), seen.numel() * step // subject.steps

    return expect


def _joined(first: Tensor, then: Tensor, pre: int, step: int, steps: int) -> Tensor:
    """Steps of one tensor up to `step`, then those of another."""
    parts = (first.reshape(pre, steps, -1)[:, :step], then.reshape(pre, steps, -1)[:, step:])
    return torch.cat(parts, 1).view(then.shape)
