"""What an audit of a model finds."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

CHECKS = {  # name: what it asks
    "batch leak": "does a sample give the same output alone as in a batch, in any order?",
    "state leak": "does the same input give the same output again, even after another input?",
    "time leak": "does a change at one step leave the steps before it unchanged?",
    "determinism": "do equal runs give equal numbers, whatever the random seed?",
    "spike-driven": "do all products only add, because one side is spikes?",
    "gradients": "does every parameter get a finite gradient?",
    "autocast": "do neurons emit the same spikes under autocast as with a float32 membrane?",
}


@dataclass(frozen=True)
class Found:
    """One fault: the module where it begins, a number, and a sentence.

    `number` is a share of the module's numbers that differ (batch, state and time leaks, determinism, autocast), the
    multiplications per input (spike-driven), or a count of parameters or numbers (gradients).
    """

    module: str
    kind: str  # the module's class
    number: float
    says: str


@dataclass(frozen=True)
class Check:
    """The outcome of one check: `clean`, `finding` or `not checked`. `note` adds what a reader should know."""

    name: str
    found: tuple[Found, ...] = ()
    note: str = ""
    checked: bool = True

    @property
    def status(self) -> str:
        return "finding" if self.found else "clean" if self.checked else "not checked"

    def describe(self) -> dict[str, Any]:
        """Plain numbers, for JSON."""
        found = [asdict(one) for one in self.found]
        return {"check": self.name, "asks": CHECKS[self.name], "status": self.status, "found": found, "note": self.note}


@dataclass(frozen=True)
class ModelAudit:
    """The outcome of every check on one model.

    Attributes:
        title: the model's name.
        about: what was run: shapes, precision, neurons.
        checks: one for each of batch leak, state leak, time leak, determinism, spike-driven, gradients and autocast,
            less those that were skipped.
    """

    title: str
    about: dict[str, str] = field(default_factory=dict)
    checks: tuple[Check, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether no check has a finding."""
        return not any(check.found for check in self.checks)

    def __getitem__(self, name: str) -> Check:
        return next(check for check in self.checks if check.name == name)

    def describe(self) -> dict[str, Any]:
        """Plain numbers, for JSON."""
        checks = [check.describe() for check in self.checks]
        return {"model": self.title, "clean": self.clean, "about": self.about, "checks": checks}
