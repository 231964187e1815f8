"""The contents of a report on one model."""

from dataclasses import asdict, dataclass
from typing import Any

from spikeformers.analysis.anytime import Anytime
from spikeformers.analysis.profile import Profile
from spikeformers.analysis.spike_audit import Finding, verdict


@dataclass(frozen=True)
class Report:
    """The results of analysing a model, as `write_report` writes them to a folder."""

    title: str
    about: dict[str, str]  # entries in the head of the page
    profile: Profile
    findings: list[Finding]
    advice: list[str]
    answers: list[Anytime]
    refused: str  # why accuracy before the last step is missing, or ""
    top1: float | None  # None for a detector or segmenter
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
    """A picture on the page: its file, caption, alternative text, and the input it belongs to."""

    file: str
    caption: str
    alt: str
    of: str = ""
