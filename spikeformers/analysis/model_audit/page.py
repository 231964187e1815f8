"""The page of an audit."""

import json
from pathlib import Path

from spikeformers.analysis.model_audit.result import CHECKS, ModelAudit
from spikeformers.analysis.report_kit.page import render_page
from spikeformers.files import atomic_write

PAGE, NUMBERS = "index.html", "audit.json"


def check_audit_folder(folder: str | Path) -> None:
    """Raises ValueError for a folder with other contents."""
    folder = Path(folder)
    if folder.is_dir() and any(folder.iterdir()) and not (folder / NUMBERS).is_file():
        raise ValueError(f"{folder} has files but no audit: choose another folder with --out")


def write_audit(audit: ModelAudit, folder: str | Path) -> None:
    """Writes the page and its numbers to a folder.

    Raises ValueError for a folder with other contents.
    """
    check_audit_folder(folder)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    page = render_page(Path(__file__).with_name("page.html"), folder, audit=audit, asks=CHECKS)
    atomic_write(folder / PAGE, page)
    atomic_write(folder / NUMBERS, json.dumps(audit.describe(), indent=2) + "\n")
