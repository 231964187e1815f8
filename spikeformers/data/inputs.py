"""One input as a model sees it, by the settings that travel with its weights."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor, from_numpy

from .events.prepared import PreparedFrames, holds_frames
from .events.recording import EXTENSIONS as RECORDINGS
from .events.recording import Recording, is_recording
from .events.sets import framing
from .events.transforms import clip_transform
from .events.windows import window_of
from .image_file import EXTENSIONS, files_below, is_image_name, read_image
from .transforms import eval_transform

_MODES = {1: "L", 3: "RGB"}
_ALONE = "leave it out, or predict --skip-broken"


def input_reader(preprocess: Mapping[str, Any], channels: int) -> Callable[[Any], list[Tensor]]:
    """From a path or a PIL image to `[C, H, W]`, or from a path or a `Recording` to `[T, C, H, W]`.

    It is one of a list, which has more of a recording that is cut into windows.

    What it returns raises FileNotFoundError where there is no such file, ValueError, naming it, for a file or image
    that cannot be read, and TypeError for anything else.

    Raises KeyError or TypeError where `preprocess` does not say all, ValueError for `channels` that images do not have.
    """
    if "frames_by" in preprocess:
        return _clip_reader(preprocess)
    transform = eval_transform(**preprocess)
    if channels not in _MODES:
        raise ValueError(f"the model takes {channels} channels: images have 1 or 3")

    def read(given: Any) -> list[Tensor]:
        if isinstance(given, Image.Image):
            name = getattr(given, "filename", "") or f"the image of {given.width} x {given.height} pixels"
        else:
            given = name = _file(given, "image", "a PIL image")
        return [transform(read_image(given, str(name), _MODES[channels], _ALONE))]

    return read


def _clip_reader(preprocess: Mapping[str, Any]) -> Callable[[Any], list[Tensor]]:
    how, window, transform = framing(preprocess), window_of(preprocess), clip_transform(**preprocess)

    def read(given: Any) -> list[Tensor]:
        if not isinstance(given, Recording | PreparedFrames):
            path = _file(given, "recording", "a Recording")
            transposed = preprocess.get("transposed", False)
            given = PreparedFrames(str(path)) if holds_frames(path) else Recording(str(path), transposed=transposed)
        if isinstance(given, PreparedFrames):
            clips = [given.frames(how)]
        else:
            events = given.opened()
            clips = [part.framed(how, events) for part in (window(given, events) if window else [given])]
        return [transform(from_numpy(clip.astype("float32"))) for clip in clips]  # T C H W

    return read


def _file(given: Any, what: str, also: str) -> Path:
    if not isinstance(given, str | os.PathLike):
        raise TypeError(f"a {type(given).__name__} is neither the path of a file nor {also}, which the model reads")
    path = Path(given)
    if path.is_dir():
        raise FileNotFoundError(f"there is no {what} {path}, which is a folder: give the files in it")
    if not path.is_file():
        raise FileNotFoundError(f"there is no {what} {path}")
    return path


def input_files(preprocess: Mapping[str, Any], given: str | Path) -> list[str]:
    """The images or recordings in a folder and in those inside it, but hidden ones; of a file, itself.

    Raises FileNotFoundError where a folder holds none.
    """
    if not Path(given).is_dir():
        return [str(given)]
    what, endings, fits = ("image", EXTENSIONS, is_image_name)
    if "frames_by" in preprocess:
        what, endings, fits = "recording", RECORDINGS, lambda file: is_recording(Path(file))
    files = [file for file in files_below(Path(given)) if fits(file)]
    if not files:
        raise FileNotFoundError(f"{given} holds no {what} ({' '.join(endings)}), which the model learnt from")
    return files
