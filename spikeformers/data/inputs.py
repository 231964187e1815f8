"""Preprocessing single inputs by the settings saved with a model's weights; images without torch."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .eval_image import EvalImage
from .image_file import EXTENSIONS, files_below, is_image_name, read_image

_MODES = {1: "L", 3: "RGB"}
_ALONE = "leave it out, or run predict --skip-broken"


def input_reader(preprocess: Mapping[str, Any], channels: int) -> Callable[[Any], list[np.ndarray]]:
    """A function that reads one input as a model takes it.

    Args:
        preprocess: The settings saved with the model's weights.
        channels: The channels the model takes.

    Returns:
        A function from a path or PIL image to a list of one `[C, H, W]` array, or from a path or `Recording` to a list
        of `[T, C, H, W]` arrays, one per window. It raises FileNotFoundError for a missing file, ValueError for an
        unreadable one, and TypeError for anything else.

    Raises:
        KeyError: `preprocess` lacks a setting.
        TypeError: `preprocess` lacks a setting.
        ValueError: Images do not have `channels` channels.
    """
    if "frames_by" in preprocess:
        return _clip_reader(preprocess)
    transform = EvalImage(**preprocess)
    if channels not in _MODES:
        raise ValueError(f"the model takes {channels} channels, but images have 1 or 3: use a model of one of these")

    def read(given: Any) -> list[np.ndarray]:
        if isinstance(given, Image.Image):
            name = getattr(given, "filename", "") or f"the image of {given.width} x {given.height} pixels"
        else:
            given = name = file_of(given, "image", "a PIL image")
        return [transform(read_image(given, str(name), _MODES[channels], _ALONE))]

    return read


def _clip_reader(preprocess: Mapping[str, Any]) -> Callable[[Any], list[np.ndarray]]:
    from torch import from_numpy

    from .events.prepared import PreparedFrames, holds_frames
    from .events.recording import Recording
    from .events.sets import framing
    from .events.transforms import clip_transform
    from .events.windows import window_of

    how, window, transform = framing(preprocess), window_of(preprocess), clip_transform(**preprocess)

    def read(given: Any) -> list[np.ndarray]:
        if not isinstance(given, Recording | PreparedFrames):
            path = file_of(given, "recording", "a Recording")
            transposed = preprocess.get("transposed", False)
            given = PreparedFrames(str(path)) if holds_frames(path) else Recording(str(path), transposed=transposed)
        if isinstance(given, PreparedFrames):
            clips = [given.frames(how)]
        else:
            events = given.opened()
            clips = [part.framed(how, events) for part in (window(given, events) if window else [given])]
        return [transform(from_numpy(clip.astype("float32"))).numpy() for clip in clips]  # T C H W

    return read


class ReadsFiles:
    """What reads files by `preprocess`, the settings saved with a model's weights."""

    preprocess: dict[str, Any]

    def files(self, given: str | Path) -> list[str]:
        """Lists the images or recordings in a folder and its subfolders.

        Args:
            given: A folder, or a file, which is returned as it is.

        Returns:
            Their paths.

        Raises:
            FileNotFoundError: No file has that name.
        """
        return input_files(self.preprocess, given)


def stored_preprocess(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The preprocessing in a checkpoint's settings. Raises KeyError or TypeError if there is none."""
    preprocess = settings["preprocess"]
    if settings.get("recipe", {}).get("data", {}).get("name") == "cifar10dvs":
        preprocess = {"transposed": True, **preprocess}  # runs up to 0.3.0 lack the setting
    return dict(preprocess)


def names_of(settings: Mapping[str, Any], count: int, path: str) -> list[str]:
    """The class names in a checkpoint's settings, or numbers. Raises ValueError unless there are `count`."""
    names = settings.get("classes") or [str(k) for k in range(count)]
    if len(names) != count:
        raise ValueError(f"{path} names {len(names)} classes, but the model has {count}: leave out num_classes")
    return names


def file_of(given: Any, what: str, also: str) -> Path:
    """A path to a file. Raises TypeError for anything else, and FileNotFoundError if there is no such file."""
    if not isinstance(given, str | os.PathLike):
        raise TypeError(f"the model reads a path or {also}, not a {type(given).__name__}: give one of those")
    path = Path(given)
    if path.is_dir():
        raise FileNotFoundError(f"there is no {what} {path}: it is a folder, so give the files in it")
    if not path.is_file():
        raise FileNotFoundError(f"there is no {what} {path}: give a path that exists")
    return path


def input_files(preprocess: Mapping[str, Any], given: str | Path) -> list[str]:
    """The files below a folder that a model reads.

    Args:
        preprocess: The settings saved with the model's weights, which say whether it reads images or recordings.
        given: A folder, or a single file, which is returned as it is.

    Returns:
        Paths, sorted by folder, then by name; hidden files are skipped.

    Raises:
        FileNotFoundError: The folder holds no such file.
    """
    if not Path(given).is_dir():
        return [str(given)]
    what, endings, fits = ("image", EXTENSIONS, is_image_name)
    if "frames_by" in preprocess:
        from .events.recording import EXTENSIONS as RECORDINGS
        from .events.recording import is_recording

        what, endings, fits = "recording", RECORDINGS, lambda file: is_recording(Path(file))
    files = [file for file in files_below(Path(given)) if fits(file)]
    if not files:
        raise FileNotFoundError(f"{given} holds no {what} that the model reads ({' '.join(endings)}): give other files")
    return files
