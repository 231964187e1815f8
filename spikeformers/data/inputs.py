"""One file as a model sees it, by the settings that travel with its weights."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor, from_numpy

from .events.prepared import PreparedFrames, holds_frames
from .events.recording import Recording
from .events.sets import framing
from .events.transforms import clip_transform
from .events.windows import window_of
from .transforms import eval_transform

_MODES = {1: "L", 3: "RGB"}


def input_reader(preprocess: Mapping[str, Any], channels: int) -> Callable[[Any], list[Tensor]]:
    """From a path to `[C, H, W]` of an image (a PIL image is taken, too), or to `[T, C, H, W]` of a recording.

    It is one of a list, which has more of a recording that is cut into windows.

    What it returns raises FileNotFoundError where there is no such file and ValueError, naming it, for a broken one.

    Raises KeyError or TypeError where `preprocess` does not say all, ValueError for `channels` that images do not have.
    """
    if "frames_by" in preprocess:
        return _clip_reader(preprocess)
    transform = eval_transform(**preprocess)
    if channels not in _MODES:
        raise ValueError(f"the model takes {channels} channels: images have 1 or 3")
    return lambda image: [transform(_opened(image, _MODES[channels]))]


def _clip_reader(preprocess: Mapping[str, Any]) -> Callable[[Any], list[Tensor]]:
    how, window, transform = framing(preprocess), window_of(preprocess), clip_transform(**preprocess)

    def read(path: str | Path) -> list[Tensor]:
        if holds_frames(Path(path)):
            clips = [PreparedFrames(str(path)).frames(how)]
        else:
            whole = Recording(str(path), transposed=preprocess.get("transposed", False))
            events = whole.opened()
            clips = [part.framed(how, events) for part in (window(whole, events) if window else [whole])]
        return [transform(from_numpy(clip.astype("float32"))) for clip in clips]  # T C H W

    return read


def _opened(image: str | Path | Image.Image, mode: str) -> Image.Image:
    if isinstance(image, Image.Image):
        return image.convert(mode)
    if not Path(image).is_file():
        raise FileNotFoundError(f"there is no image {image}")
    try:
        with Image.open(image) as opened:
            stored, converted = opened.mode, opened.convert(mode)
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, struct.error and more
        raise ValueError(f"{image} is not an image that can be read: leave it out, or --skip-broken") from error
    if stored.startswith(("I", "F")):  # Pillow clips these at 255: a 16-bit picture would come out white
        raise ValueError(f"{image} has more than 8 bits a channel (mode {stored}): save it with 8 bits")
    return converted
