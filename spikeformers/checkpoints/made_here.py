"""Whether a run was trained in this very place: then what it says of files that its parts are in is one's own word."""

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

logger = logging.getLogger("spikeformers")

FILE = "provenance.json"


def made_here(path: str | Path) -> bool:
    """Whether a run's folder, or a file in it, is of a run that was trained in this very place.

    What was copied, downloaded or unpacked has another number on its disk: somebody else may have written it, and what
    it says of files that parts are in. Of a run that was made here, warns where those files have changed since.
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
    """What a run's folder says of its last start, or nothing."""
    return (starts(folder) or [{}])[-1]


def starts(folder: Path) -> list[dict[str, Any]]:
    """What a run's folder says of each of its starts. Raises ValueError where that is damaged."""
    if not (file := folder / FILE).is_file():
        return []
    try:
        return json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is no JSON ({error}): restore it, or remove it") from error


def digest_of_file(file: Path) -> str:
    """What is in a file, in 16 letters."""
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]
