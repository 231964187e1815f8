"""Leaks between samples, calls and time steps, and randomness: runs that should agree, compared module by module."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from spikeformers.analysis.model_audit.expected import alone, as_recorded, before, find_times, flipped
from spikeformers.analysis.model_audit.result import Check, Found
from spikeformers.analysis.model_audit.runs import (
    ROOT,
    Blame,
    Expect,
    Following,
    Recording,
    Stopped,
    differences,
    tensors,
)
from spikeformers.analysis.model_audit.subject import Subject
from spikeformers.analysis.neuron_states import reset_states, resettable

_MOST_STEPS = 8  # at which every step is tried
_ROUNDING = 1e-3  # the share of spikes that rounding in single precision can flip


def kind_of(subject: Subject, name: str) -> str:
    module = subject.model if name == ROOT else subject.model.get_submodule(name)
    return type(module).__name__


def found_from(subject: Subject, blames: Mapping[str, Blame], says: Callable[[Blame], str]) -> list[Found]:
    order = {name: i for i, name in enumerate(subject.reference.calls)}
    own = subject.tolerance > 1e-5
    return [
        Found(blame.module, kind_of(subject, blame.module), blame.share, says(blame) + _inside(blame))
        for blame in sorted(blames.values(), key=lambda blame: order.get(blame.module, -1))
        if not (own and blame.module in subject.neurons and blame.share < _ROUNDING)
    ]


def _inside(blame: Blame) -> str:
    return f", first in what it passes to {blame.inside}" if blame.inside else ""


def _by(blame: Blame) -> str:
    return f"{percent(blame.share)} of its numbers differ by up to {blame.largest:.3g}"


def percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def check_determinism(subject: Subject) -> tuple[Check, frozenset[str]]:
    """Equal runs with the same seed, and in eval mode with another. Also returns the modules that draw random numbers.

    A module that is not deterministic, or draws, is blamed on no other count, since its runs cannot be compared.
    """
    same = _follow(subject, subject.fresh(), None, as_recorded, tolerance=0.0)
    drawn = _follow(subject, subject.fresh(), None, as_recorded, tolerance=0.0, seed=1, excused=same.blames)
    found = found_from(subject, same.blames, lambda b: f"{_by(b)} between two equal runs")
    if not subject.model.training:
        found += found_from(subject, drawn.blames, lambda b: f"draws random numbers in eval mode: {_by(b)}")
    excused = frozenset({*same.blames, *drawn.blames})
    return Check("determinism", tuple(found), _lost(drawn)), excused


def check_batch(subject: Subject, excused: frozenset[str]) -> Check:
    """Each of up to four samples alone, and the whole batch in reverse order."""
    chosen = [*range(subject.samples)] if subject.samples <= 4 else [0, 1, subject.samples // 2, subject.samples - 1]
    if not subject.places:
        note = "the model takes another path with one sample fewer"
        return Check("batch leak", note=note, checked=False)
    blames: dict[str, Blame] = {}
    lost, failed = "", ()
    outputs = 0.0
    for sample in chosen:
        x = subject.x.narrow(subject.batch_axis, sample, 1)
        try:
            run = _follow(subject, subject.fresh(), x, alone(subject, sample), excused=excused, blames=blames)
        except Stopped as error:
            failed = (Found(error.module, kind_of(subject, error.module), 1, f"fails on one sample alone: {error}"),)
            break
        lost = lost or _lost(run)
        if blames:
            outputs = max(outputs, _at_the_end(subject, sample, x))
    run = _follow(
        subject, subject.fresh(), subject.x.flip(subject.batch_axis), flipped(subject), excused=excused, blames=blames
    )
    found = found_from(subject, blames, lambda b: f"{_by(b)} from what a sample gives alone")
    notes = [lost or _lost(run), f"the model's output changes by up to {outputs:.3g}" if outputs else ""]
    return Check("batch leak", (*failed, *found), _notes(*notes, _about(excused)))


def check_state(subject: Subject, excused: frozenset[str], reset: bool) -> Check:
    """The same input twice, and again after another one, without a reset between unless asked for."""
    blames: dict[str, Blame] = {}
    model = subject.fresh()

    def call(x: Tensor | None, compared: bool = True) -> Following | None:
        if reset:
            reset_states(model)
        if compared:
            return _follow(subject, model, x, as_recorded, excused=excused, blames=blames)
        subject.run(model, x)
        return None

    try:
        subject.run(model, tap=Recording(subject.drive).tap)
        runs = [call(None), call(subject.another_input(), compared=False), call(None)]
    except Stopped as error:
        says = f"fails when called again: {error}"
        return Check("state leak", (Found(error.module, kind_of(subject, error.module), 1, says),))
    found = found_from(subject, blames, lambda b: f"{_by(b)} when the same input comes again")
    kept = [name for name in blames if name != ROOT and resettable(subject.model.get_submodule(name))]
    hint = ""
    if kept and not reset:
        hint = (
            f"{len(kept)} of these can be reset, as SpikingJelly's and snnTorch's neurons must be between inputs; "
            "audit with reset (--reset) to see what is left then"
        )
    return Check("state leak", tuple(found), _notes(*map(_lost, filter(None, runs)), hint))


def check_time(subject: Subject, excused: frozenset[str]) -> Check:
    """Inputs that differ from some step on: what comes before it must stay."""
    steps = subject.steps
    if steps < 2:
        why = "the inputs have no time axis, and the model does not say how many steps it runs: give steps (--steps)"
        return Check("time leak", note=why if not steps else "the model runs one step", checked=False)
    times = find_times(subject)
    start = next((key for key in sorted(times) if isinstance(times[key], int)), None)
    if start is None:
        return Check("time leak", note=f"no tensor with an axis of {steps} steps was found", checked=False)
    blames: dict[str, Blame] = {}
    tried = [*range(1, steps)] if steps <= _MOST_STEPS else [1, steps // 2, steps - 1]
    lost = ""
    for step in tried:
        expect = before(subject, times, start, step)
        run = _follow(subject, subject.fresh(), None, expect, excused=excused, blames=blames, first=start[0])
        lost = lost or _lost(run)
    found = found_from(subject, blames, lambda b: f"{_by(b)} before the step that was changed")
    modules = dict(subject.model.named_modules())
    declared = [one.module for one in found if getattr(modules.get(one.module), "causal", True) is False]
    note = f"{', '.join(declared)} declares that it looks ahead (causal = False)" if declared else ""
    return Check("time leak", tuple(found), _notes(lost, note, _about(excused)))


def _follow(
    subject: Subject,
    model: nn.Module,
    x: Tensor | None,
    expect: Expect,
    *,
    excused: Mapping[str, Blame] | frozenset[str] = frozenset(),
    blames: dict[str, Blame] | None = None,
    tolerance: float | None = None,
    seed: int = 0,
    first: int = 0,
) -> Following:
    following = Following(
        subject.reference,
        expect,
        subject.tolerance if tolerance is None else tolerance,
        frozenset(excused),
        first,
        {} if blames is None else blames,
    )
    subject.run(model, x, following.tap, seed)
    return following


def _at_the_end(subject: Subject, sample: int, x: Tensor) -> float:
    """How far the model's own outputs for a sample alone are from those in the batch: undriven, unmended."""
    last, largest = len(subject.reference.events) - 1, 0.0
    for leaf, seen in enumerate(tensors(subject.run(subject.fresh(), x))):
        if leaf < len(subject.outputs) and (
            expected := alone(subject, sample)(last, leaf, subject.outputs[leaf], seen)
        ):
            difference = differences(seen, expected[0], subject.tolerance)
            largest = max(largest, difference[1] if difference else 0.0)
    return largest


def _lost(run: Following) -> str:
    return f"the run took another path at {run.lost} and was not followed beyond it" if run.lost else ""


def _about(excused: frozenset[str]) -> str:
    return f"not judged, because random: {', '.join(sorted(excused))}" if excused else ""


def _notes(*notes: str) -> str:
    return "; ".join(dict.fromkeys(filter(None, notes)))
