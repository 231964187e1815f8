"""Parsing text headers of files."""

import re

_SIDES = [re.compile(rb"(?i)(?:" + name + rb")[^\d\n]{1,24}(\d+)") for name in (rb"\bheight|sizeY", rb"\bwidth|sizeX")]
_GEOMETRY = re.compile(rb"(?i)geometry[^\d\n]{1,8}(\d+)x(\d+)")


def sensor_in(header: bytes) -> tuple[int, int] | None:
    """The height and width that a header states, or None."""
    if both := _GEOMETRY.search(header):
        return int(both[2]), int(both[1])
    height, width = (side.search(header) for side in _SIDES)
    return (int(height[1]), int(width[1])) if height and width else None
