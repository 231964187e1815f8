"""The page of a report, with embedded pictures."""

from pathlib import Path

from spikeformers.analysis.energy import CONVENTIONS
from spikeformers.analysis.report_contents import Picture, Report
from spikeformers.analysis.report_kit.page import render_page
from spikeformers.analysis.spike_audit import verdict
from spikeformers.models import PAPERS

_TEMPLATE = Path(__file__).with_name("report.html")


def block_of(name: str) -> str:
    """The part of a model that a layer belongs to: `stem`, `blocks.3`, `head`."""
    words = name.split(".")
    return (
        ".".join(words[:2]) if words[0] == "blocks" else words[0] if len(words) > 1 or name[:1].isdigit() else "model"
    )


def page_of(report: Report, pictures: dict[str, list[Picture]], folder: Path) -> str:
    """The page as HTML. Pictures are read from `folder` and embedded."""
    layers = report.profile.by_layer(report.convention)
    blocks: dict[str, float] = {}
    for layer, energy in layers:
        blocks[block_of(layer.name)] = blocks.get(block_of(layer.name), 0) + energy.millijoules
    inputs: dict[str, list[Picture]] = {}
    for picture in pictures["attention"]:
        inputs.setdefault(picture.of, []).append(picture)
    return render_page(
        _TEMPLATE,
        folder,
        report=report,
        conventions=CONVENTIONS,
        papers=PAPERS,
        totals={name: report.profile.total(name) for name in CONVENTIONS},
        twin=report.profile.twin,
        layers=layers,
        blocks=blocks,
        busiest=max((rate for layer in report.profile.activity for rate in layer.rates), default=0) or 1,
        verdict=verdict(report.findings),
        pictures=pictures,
        inputs=inputs,
    )
