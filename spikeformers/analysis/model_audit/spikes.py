"""Whether a model is spike-driven: the operands of each of its products."""

from __future__ import annotations

from typing import Any

from spikeformers.analysis.model_audit.leaks import kind_of
from spikeformers.analysis.model_audit.result import Check, Found
from spikeformers.analysis.model_audit.runs import ROOT
from spikeformers.analysis.model_audit.subject import Subject
from spikeformers.analysis.profile import profile
from spikeformers.analysis.spike_audit import audit, verdict


def check_spikes(subject: Subject) -> Check:
    """Every product with two sides that are not spikes, and every function such as `exp`, but not the image's product
    and the classifier's."""
    model = subject.fresh().eval()
    if subject.chooses:
        del model.forward  # the profile tells decoding from the network, and counts heads on regions
    _declare(subject, model)
    counted = profile(model, [subject.x], samples=subject.samples)
    findings = audit(counted)
    found: list[Found] = []
    for one in findings:
        scaled = one.layer.op == "scale" and one.verdict == "counts"  # the weights of whatever reads it can take that
        if one.verdict in ("counts", "multiplications") and not one.layer.role and not scaled:
            module = _owner(one.layer.name, subject)
            each = one.layer.hits / counted.samples
            left, right = one.operands
            what = f"{one.layer.op} of {left}" + (f" by {right}" if right else "")
            found.append(Found(module, kind_of(subject, module), each, f"{what}, {each:,.0f} per input"))
    if not subject.neurons:
        return Check("spike-driven", note="no module emits spikes", found=tuple(found))
    return Check("spike-driven", tuple(found), verdict(findings))


def _declare(subject: Subject, model: Any) -> None:
    """Lets the counter know neurons by what they were seen to do."""
    steps = {event.module: event for event in subject.reference.events}
    for name, levels in subject.neurons.items():
        module = model.get_submodule(name)
        if not hasattr(module, "levels") and not hasattr(module, "surrogate_function"):
            module.levels = tuple(levels.tolist())
        if not hasattr(module, "step_mode") and steps[name].call > 0:
            module.step_mode = "s"


def _owner(layer: str, subject: Subject) -> str:
    names = {name for name, _ in subject.model.named_modules()}
    while layer and layer not in names:
        layer = layer.rpartition(".")[0]
    return layer or ROOT
