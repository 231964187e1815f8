"""Self-contained pages: style and pictures are embedded."""

import base64
import re
import shlex
from pathlib import Path
from typing import Any

from spikeformers.analysis.report_kit.units import joules, si

_HERE = Path(__file__).parent


def render_page(template: Path, folder: Path, **values: Any) -> str:
    """Renders a template that extends `base.html`. Pictures are read from `folder`."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader([template.parent, _HERE]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = {"si": si, "joules": joules, "names": _names, "command": _command}
    environment.filters |= {**filters, "data_uri": lambda file: _data_uri(folder / file)}
    style = (_HERE / "style.css").read_text(encoding="utf-8")
    return environment.get_template(template.name).render(style=style, **values)


def _data_uri(file: Path) -> str:
    kind = {".svg": "image/svg+xml", ".png": "image/png"}[file.suffix]
    return f"data:{kind};base64,{base64.b64encode(file.read_bytes()).decode()}"


def _names(text: str) -> Any:
    """Text whose dotted names and paths may break after a dot or a slash only."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"(?<=\w)([./])(?=[^\W\d])|(?<=[^\W\d])([./])(?=\d)", r"\1\2<wbr>", str(escape(text))))


def _command(line: str) -> Any:
    """A command that may break between options, but not between an option and its values."""
    from markupsafe import Markup

    pieces: list[str] = []
    for word in map(shlex.quote, shlex.split(line)):
        if len(pieces) > 1 and pieces[-1].startswith("--") and not word.startswith("-"):
            pieces[-1] += f" {word}"
        else:
            pieces.append(word)
    return Markup(" ").join(Markup("<span>{}</span>").format(piece) for piece in pieces)
