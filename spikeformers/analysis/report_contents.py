"""What a report on one model holds."""

from dataclasses import asdict, dataclass
from typing import Any

from spikeformers.analysis.anytime import Anytime
from spikeformers.analysis.profile import Profile
from spikeformers.analysis.spike_audit import Finding, verdict


@dataclass(frozen=True)
class Report:
    """What was found out of a model on its inputs; `write` leaves it in a folder."""

    title: str
    about: dict[str, str]  # what the page says at its head
    profile: Profile
    findings: list[Finding]
    advice: list[str]
    answers: list[Anytime]
    refused: str  # why there are no answers before the last step
    top1: float
    convention: str

    def summary(self) -> dict[str, Any]:
        """Everything as plain numbers."""
        return {
            "title": self.title,
            "about": self.about,
            "top1": self.top1,
            "verdict": verdict(self.findings),
            "advice": self.advice,
            "anytime": [asdict(answer) for answer in self.answers],
            "audit": [finding.describe() for finding in self.findings],
            **self.profile.describe(),
        }


@dataclass(frozen=True)
class Picture:
    """A picture of the page: its file, what it is called, what one sees in it, and for which input."""

    file: str
    caption: str
    alt: str
    of: str = ""
