"""Event cameras: reading recordings, cutting them into clips of frames, and augmenting clips.

An item of a set is (`Recording`, label), of its clips ([T, C, H, W] tensor, label), so a batch is [B, T, C, H, W].
"""

from typing import TYPE_CHECKING

from spikeformers.lazy import lazy_names

if TYPE_CHECKING:
    from .frames import Framing
    from .load import known_event_sets, load_events
    from .recording import Events, Recording, read_events
    from .sets import EventSets
    from .transforms import augmenting_clip_transform, clip_transform
    from .windows import Window

__all__ = [
    "EventSets", "Events", "Framing", "Recording", "Window", "augmenting_clip_transform", "clip_transform",
    "known_event_sets", "load_events", "read_events",
]  # fmt: skip

__getattr__ = lazy_names(
    __name__,
    {
        "Framing": "frames",
        **dict.fromkeys(("Events", "Recording", "read_events"), "recording"),
        "EventSets": "sets",
        **dict.fromkeys(("known_event_sets", "load_events"), "load"),
        **dict.fromkeys(("augmenting_clip_transform", "clip_transform"), "transforms"),
        "Window": "windows",
    },
)
