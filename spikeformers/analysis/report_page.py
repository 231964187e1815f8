"""The page of a report, with its pictures inside."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from spikeformers.analysis.energy import CONVENTIONS
from spikeformers.analysis.spike_audit import verdict
from spikeformers.models import PAPERS

if TYPE_CHECKING:
    from spikeformers.analysis.report import Report


@dataclass(frozen=True)
class Picture:
    """A picture of the page: its file, what it is called, what one sees in it, and for which input."""

    file: str
    caption: str
    alt: str
    of: str = ""


def block_of(name: str) -> str:
    """The part of a model that a layer belongs to: `stem`, `blocks.3`, `head`."""
    words = name.split(".")
    return (
        ".".join(words[:2]) if words[0] == "blocks" else words[0] if len(words) > 1 or name[:1].isdigit() else "model"
    )


def render_page(report: Report, pictures: dict[str, list[Picture]], folder: Path) -> str:
    """The page as HTML, with the pictures that lie in `folder`."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    templates = Path(__file__).parent / "page"
    environment = Environment(
        loader=FileSystemLoader(templates),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"si": _si, "joules": _joules, "data_uri": lambda file: _data_uri(folder / file)}
    totals = {name: report.profile.total(name) for name in CONVENTIONS}
    layers = report.profile.by_layer(report.convention)
    blocks: dict[str, float] = {}
    for layer, energy in layers:
        blocks[block_of(layer.name)] = blocks.get(block_of(layer.name), 0) + energy.millijoules
    inputs: dict[str, list[Picture]] = {}
    for picture in pictures["attention"]:
        inputs.setdefault(picture.of, []).append(picture)
    return environment.get_template("index.html").render(
        report=report,
        style=(templates / "style.css").read_text(encoding="utf-8"),
        conventions=CONVENTIONS,
        papers=PAPERS,
        totals=totals,
        layers=layers,
        blocks=blocks,
        busiest=max((rate for layer in report.profile.activity for rate in layer.rates), default=0) or 1,
        verdict=verdict(report.findings),
        pictures=pictures,
        inputs=inputs,
    )


def _data_uri(file: Path) -> str:
    kind = {".svg": "image/svg+xml", ".png": "image/png"}[file.suffix]
    return f"data:{kind};base64,{base64.b64encode(file.read_bytes()).decode()}"


def _joules(millijoules: float) -> str:
    """An energy with the unit that suits it: `13.66 mJ`, `2.642 µJ`."""
    for size, unit in ((1.0, "mJ"), (1e-3, "µJ"), (1e-6, "nJ")):
        if millijoules >= size:
            return f"{millijoules / size:.4g} {unit}"
    return f"{millijoules * 1e9:.4g} pJ"


def _si(count: float) -> str:
    """A count with a prefix: `12.51 G`."""
    for size, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(count) >= size:
            return f"{count / size:.2f} {prefix}"
    return f"{count:.4g}"
