"""Whether a run was trained in this folder: only then may its settings import user code."""

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

logger = logging.getLogger("spikeformers")

FILE = "provenance.json"


def made_here(path: str | Path) -> bool:
    """Whether a run folder, or a file in it, was trained in this folder.

    A copy, download or unpacked archive has another inode: somebody else may have chosen the files that it imports.
    Warns if such a file of a run that was made here has changed since.
    """
    path = Path(path).resolve()
    folder = next((one for one in (path, *path.parents[:2]) if (one / FILE).is_file()), None)
    if folder is None or last_start(folder).get("folder") != folder.stat().st_ino:
        return False
    for file, digest in last_start(folder).get("files", {}).items():
        if Path(file).is_file() and digest_of_file(Path(file)) != digest:
            logger.warning("%s has changed since %s was trained with it", file, folder)
    return True


def last_start(folder: Path) -> dict[str, Any]:
    """The record of a run folder's last start, or {}."""
    return (starts(folder) or [{}])[-1]


def starts(folder: Path) -> list[dict[str, Any]]:
    """The records of a run folder's starts. Raises ValueError for a damaged file."""
    if not (file := folder / FILE).is_file():
        return []
    try:
        return json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is not valid JSON ({error}): restore it, or remove it") from error


def digest_of_file(file: Path) -> str:
    """A file's SHA-256, its first 16 hex digits."""
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]
