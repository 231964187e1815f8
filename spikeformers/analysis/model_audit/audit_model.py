"""`audit_model`: every check on anyone's model."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor, nn

from spikeformers.analysis.model_audit.autocast import check_autocast
from spikeformers.analysis.model_audit.gradients import check_gradients
from spikeformers.analysis.model_audit.leaks import check_batch, check_determinism, check_state, check_time
from spikeformers.analysis.model_audit.result import CHECKS, Check, ModelAudit
from spikeformers.analysis.model_audit.runs import Stopped
from spikeformers.analysis.model_audit.spikes import check_spikes
from spikeformers.analysis.model_audit.subject import Subject
from spikeformers.memory import is_shortage


def audit_model(
    model: nn.Module,
    inputs: Tensor | tuple[Tensor, ...] | list[Tensor],
    *,
    layout: str | None = None,
    steps: int | None = None,
    reset: bool = False,
    training: bool = False,
    skip: Iterable[str] = (),
    name: str | None = None,
) -> ModelAudit:
    """Looks for faults that accuracy does not show, in any module: of this library, SpikingJelly, snnTorch, Norse.

        sf.analysis.audit_model(model, torch.randn(4, 3, 32, 32)).clean

    It runs copies of the model, in float64 where possible, so that rounding makes no difference; the model is
    unchanged. Each finding names the module where it begins: its inputs are right and its output is wrong. The
    difference is corrected there, so that the modules after it are judged on their own.

    Args:
        model: any module that takes one tensor.
        inputs: at least two samples, or a tuple that begins with them, such as a batch with labels.
        layout: the first axes of the inputs, `B`, `TB` or `BT`; by default `TB` for five axes, else `B`.
        steps: time steps of a model that repeats its input, for the check of time; by default its `time_steps` or `T`.
        reset: clear states, by the modules' own `reset()` or `reset_mem()`, between calls in the check of state. All
            other checks begin from a cleared copy.
        training: run in training mode, in which a batch norm is a leak between samples by design.
        skip: names of checks to leave out, of `CHECKS`.
        name: the model's name; by default the name in its config, or its class.

    Returns:
        The outcome of each check.

    Raises:
        ValueError: an unknown check or layout, fewer than two samples, or a model that cannot be copied or does not
            run on these inputs.
    """
    if unknown := [one for one in skip if one not in CHECKS]:
        raise ValueError(f"there is no check {unknown[0]!r}: choose from {', '.join(CHECKS)}")
    x = inputs[0] if isinstance(inputs, tuple | list) else inputs
    title = name or str(getattr(model, "config", {}).get("name") or type(model).__name__)
    try:
        subject = Subject(model, x, layout=layout, training=training, steps=steps)
        about = _about(subject, training)
        determinism, excused = check_determinism(subject)
    except Stopped as error:
        raise ValueError(
            f"{title} does not run on inputs of shape {list(x.shape)}: {error}; give the inputs that it takes"
        ) from error
    checks: dict[str, Callable[[], Check]] = {
        "batch leak": lambda: check_batch(subject, excused),
        "state leak": lambda: check_state(subject, excused, reset),
        "time leak": lambda: check_time(subject, excused),
        "determinism": lambda: determinism,
        "spike-driven": lambda: check_spikes(subject),
        "gradients": lambda: check_gradients(subject),
        "autocast": lambda: check_autocast(subject),
    }
    left_out = set(skip)
    return ModelAudit(title, about, tuple(_done(name, run) for name, run in checks.items() if name not in left_out))


def _done(name: str, run: Callable[[], Check]) -> Check:
    """A check's outcome; one that the model does not let run is not checked, and says why."""
    try:
        return run()
    except Exception as error:  # somebody else's code
        if is_shortage(error):
            raise
        what = str(error) if isinstance(error, Stopped) else f"{type(error).__name__}: {error}"
        return Check(name, note=f"could not run: {' '.join(what.split())}", checked=False)


def _about(subject: Subject, training: bool) -> dict[str, str]:
    silent = subject.silent
    about: dict[str, Any] = {
        "inputs": f"{' x '.join(map(str, subject.x.shape))}, {subject.layout}",
        "run in": f"{subject.precision}, {'training' if training else 'eval'} mode",
        "neuron layers": f"{len(subject.neurons)}",
    }
    if subject.chooses:
        about["audited"] = "the detector's outputs before it chooses boxes, without heads on regions"
    if silent:
        about["silent on these inputs"] = (
            f"{len(silent)}, the first {silent[0]}; the checks for leaks drive all neurons with noise"
        )
    if subject.norms_set:
        about["norms"] = f"{subject.norms_set} had seen no data, and took their statistics from these inputs"
    if subject.stopped:
        about["not in float64"] = str(subject.stopped)
    return about
