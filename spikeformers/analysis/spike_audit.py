"""Auditing whether a model is spike-driven: the operands of every product, and a verdict in words."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from spikeformers.analysis.counted_layer import Layer
from spikeformers.analysis.operands import Operand
from spikeformers.analysis.profile import Profile

_SPIKES = ("binary", "ternary")
_PRODUCTS = ("convolution", "linear", "product", "mask", "scale")
_FUNCTIONS = ("division", "function")


@dataclass(frozen=True)
class Finding:
    """One product or function, with its operands and a verdict on whether additions suffice for it.

    `verdict` is `silent` if one side was always 0, `additions` if one is binary or ternary, `counts` if one holds
    spike counts (a count c costs c additions, or one multiplication), and `multiplications` if neither holds spikes,
    for a division and for a function such as `exp`. Operations of unknown cost are `unknown`.
    """

    layer: Layer

    @property
    def verdict(self) -> str:
        if self.layer.op in (*_FUNCTIONS, "unknown"):
            return "unknown" if self.layer.op == "unknown" else "multiplications"
        sides = [side for side in (self.layer.left, self.layer.right) if side is not None]
        if any(side.elements and not side.nonzeros for side in sides):
            return "silent"
        kinds = {side.kind for side in sides}
        return "additions" if kinds & {*_SPIKES} else "counts" if "integer" in kinds else "multiplications"

    @property
    def operands(self) -> tuple[str, str]:
        """Both sides in words: `always 0`, `binary`, `counts up to 3`, `real, such as 0.37`, `weights`."""
        left, right, op = self.layer.left, self.layer.right, self.layer.op
        alone = "" if op in (*_FUNCTIONS, "unknown") else "a constant" if op == "scale" else "weights"
        return _in_words(left), alone if right is None else _in_words(right)

    def describe(self) -> dict[str, Any]:
        """Plain numbers, for JSON."""
        left, right = self.operands
        return {"name": self.layer.name, "verdict": self.verdict, "left": left, "right": right}


def audit(profile: Profile) -> list[Finding]:
    """A finding for every product and function of a profiled model.

    Args:
        profile: the model's profile.

    Returns:
        One entry per product (with weights, of activations, elementwise), function and operation of unknown cost.
    """
    return [Finding(layer) for layer in profile.layers if layer.op in (*_PRODUCTS, *_FUNCTIONS, "unknown")]


def verdict(findings: list[Finding]) -> str:
    """A few sentences on which products are additions, which are not, and why.

    Args:
        findings: what `audit` returns.
    """
    return " ".join(_sentences(findings))


def _sentences(every: list[Finding]) -> Iterator[str]:
    findings = [finding for finding in every if finding.layer.op in _PRODUCTS]
    functions = [finding for finding in every if finding.layer.op in _FUNCTIONS]
    unknown = [finding for finding in every if finding.layer.op == "unknown"]
    silent = [finding for finding in findings if finding.verdict == "silent"]
    broken = [finding for finding in findings if finding.verdict in ("counts", "multiplications")]
    within = [finding for finding in broken if not finding.layer.role]
    added = len(findings) - len(broken) - len(silent)
    if within or functions:
        others = f", {len(broken)} do not" if broken else ""
        yield f"Not entirely spike-driven: {added} of {len(findings)} products only add{others}."
    else:
        known = ", except for unknown operations" if unknown else ""
        yield f"Spike-driven{known}: {added} of {len(findings)} products only add."
    for finding in broken:
        if finding.layer.role == "first" and finding.verdict == "multiplications":
            yield f"The first convolution, {finding.layer.name}, multiplies the image, {_in_words(finding.layer.left)}."
    if silent:
        yield f"{_products(silent)} {'are' if len(silent) > 1 else 'is'} silent: one side is always 0."
    if counts := [finding for finding in within if finding.verdict == "counts"]:
        most = max(finding.layer.left.most for finding in counts)
        yield f"{_products(counts)} of spike counts up to {most}: a count c costs c additions, or one multiplication."
        yield "Counts come from shortcuts that add spikes (SEW) and from integer neurons."
    if real := [finding for finding in within if finding.verdict == "multiplications"]:
        yield f"{_products(real)} of real numbers (input: {_in_words(real[0].layer.left)}): full multiplications."
    if functions:
        yield f"{_products(functions, 'function')} of {_in_words(functions[0].layer.left)}: one multiplication or more."
    if unknown:
        yield f"{_products(unknown, 'operation')} not counted: the cost is unknown."
    if last := [finding for finding in broken if finding.layer.role == "classifier"]:
        yield f"The classifier, {last[0].layer.name}, reads {_in_words(last[0].layer.left)}."
    products = [f for f in findings if f.layer.op == "product" and f.verdict == "additions"]
    if one_sided := [f for f in products if "real" in _kinds(f.layer)]:
        yield f"{_products(one_sided)} of attention with a real side: spikes add real numbers there."


def _kinds(layer: Layer) -> set[str]:
    return {side.kind for side in (layer.left, layer.right) if side is not None}


def _in_words(side: Operand) -> str:
    if side.elements and not side.nonzeros:
        return "always 0"
    if side.kind == "integer":
        worth = "" if side.unit == 1 else f" worth {side.unit:g}"
        return f"counts up to {side.most}{worth}"
    return f"real, such as {side.example:.4g}" if side.kind == "real" and side.example is not None else side.kind


def _products(findings: list[Finding], what: str = "product") -> str:
    """`3 products (the first is blocks.0.attn.core.q.conv)`, or `One product (blocks.0.attn.core.q.conv)`."""
    count, first = len(findings), findings[0].layer.name
    return f"{count} {what}s (the first is {first})" if count > 1 else f"One {what} ({first})"
