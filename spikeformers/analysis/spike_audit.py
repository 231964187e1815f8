"""Is it really spike-driven? What the operands of every product are, and a verdict in words."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from spikeformers.analysis.operands import Operand
from spikeformers.analysis.profile import Profile
from spikeformers.analysis.synaptic_ops import Layer

_SPIKES = ("binary", "ternary")
_PRODUCTS = ("convolution", "linear", "product", "mask", "scale")
_FUNCTIONS = ("division", "function")


@dataclass(frozen=True)
class Finding:
    """One product or function: what it takes, and whether that comes down to additions.

    `verdict` is `silent` where a side was never anything but 0, `additions` where one is binary or ternary, `counts`
    where the spikes are counts, each as many additions or one multiplication, and `multiplications` where no side is
    made of spikes, for a division and for a function such as `exp`. An operation that is not counted is `unknown`.
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
        """Both sides in words: `nothing but 0`, `binary`, `counts up to 3`, `real, such as 0.37`, `weights`."""
        left, right, op = self.layer.left, self.layer.right, self.layer.op
        alone = "" if op in (*_FUNCTIONS, "unknown") else "a constant" if op == "scale" else "weights"
        return _in_words(left), alone if right is None else _in_words(right)

    def describe(self) -> dict[str, Any]:
        """Plain numbers, for JSON."""
        left, right = self.operands
        return {"name": self.layer.name, "verdict": self.verdict, "left": left, "right": right}


def audit(profile: Profile) -> list[Finding]:
    """What every product, element by element or with weights too, and every function of a profiled model takes."""
    return [Finding(layer) for layer in profile.layers if layer.op in (*_PRODUCTS, *_FUNCTIONS, "unknown")]


def verdict(findings: list[Finding]) -> str:
    """A few sentences on the whole: which products are additions, which are not, and why."""
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
        yield f"Not spike-driven throughout: {added} of {len(findings)} products only add{others}."
    else:
        known = ", as far as is known" if unknown else ""
        yield f"Spike-driven{known}: {added} of {len(findings)} products only add."
    for finding in broken:
        if finding.layer.role == "first" and finding.verdict == "multiplications":
            yield f"The first convolution, {finding.layer.name}, multiplies the image, {_in_words(finding.layer.left)}."
    if silent:
        yield f"{_products(silent)} {'are' if len(silent) > 1 else 'is'} silent: one side is 0 throughout."
    if counts := [finding for finding in within if finding.verdict == "counts"]:
        most = max(finding.layer.left.most for finding in counts)
        yield f"{_products(counts)} of counts of spikes, up to {most}: as many additions each, or one multiplication."
        yield "Shortcuts that add spikes (SEW) and integer neurons make counts."
    if real := [finding for finding in within if finding.verdict == "multiplications"]:
        yield f"{_products(real)} of real numbers, there {_in_words(real[0].layer.left)}: multiplications in full."
    if functions:
        yield f"{_products(functions, 'function')} of {_in_words(functions[0].layer.left)}: multiplications at least."
    if unknown:
        yield f"{_products(unknown, 'operation')} not counted: nothing is known of the cost."
    if last := [finding for finding in broken if finding.layer.role == "classifier"]:
        yield f"The classifier, {last[0].layer.name}, reads {_in_words(last[0].layer.left)}."
    products = [f for f in findings if f.layer.op == "product" and f.verdict == "additions"]
    if one_sided := [f for f in products if "real" in _kinds(f.layer)]:
        yield f"{_products(one_sided)} of attention with a real side: spikes add real numbers there."


def _kinds(layer: Layer) -> set[str]:
    return {side.kind for side in (layer.left, layer.right) if side is not None}


def _in_words(side: Operand) -> str:
    if side.elements and not side.nonzeros:
        return "nothing but 0"
    if side.kind == "integer":
        worth = "" if side.unit == 1 else f" worth {side.unit:g}"
        return f"counts up to {side.most}{worth}"
    return f"real, such as {side.example:.4g}" if side.kind == "real" and side.example is not None else side.kind


def _products(findings: list[Finding], what: str = "product") -> str:
    """`3 products, blocks.0.attn.core.q.conv the first,`."""
    count, first = len(findings), findings[0].layer.name
    return f"{count} {what}s, {first} the first," if count > 1 else f"One {what}, {first},"
