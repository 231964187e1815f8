"""Writing a file so that it is there whole, or as it was before."""

from pathlib import Path


def write_whole(file: Path, text: str) -> None:
    """Puts `text` into `file` by way of a file beside it: who is interrupted leaves the old one."""
    unfinished = file.with_name(f"{file.name}.unfinished")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(file)
