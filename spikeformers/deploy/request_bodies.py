"""What a server takes: the body of a request, read within limits, as an image or a recording."""

import io
import math
import tempfile
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from spikeformers.data.image_file import read_image
from spikeformers.deploy.predict import Predictor

try:
    from fastapi import Request
    from starlette.exceptions import HTTPException
except ImportError:
    raise ImportError("a server needs fastapi: pip install 'spikeformers[serve]'") from None

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "PPM", "TIFF", "AVIF")  # Pillow has others that run other programs
RECORDINGS = (".bin", ".aedat", ".npy", ".npz", ".dat", ".es", ".txt", ".csv")  # those that size bounds in memory
_READABLE = 178  # megapixels
_BODIES = 32  # of the largest that the server holds at a time


@dataclass(frozen=True)
class Limits:
    """Limits on the requests that a server accepts; anything beyond them is refused.

    Attributes:
        megabytes: largest body of a request. An `.npz` may unpack to 8 times that; all bodies held at once, 32 times.
        megapixels: largest image.
        windows: most windows of a recording, for a model that cuts recordings into windows of time or of events.
        seconds: longest time for a request, from its first byte to the answer.
        waiting: most requests that may wait for the model; further ones are told to try again later.
        batch: most requests, or windows of recordings, that go through the model together.

    Raises:
        ValueError: A limit is not above 0 and finite, or `windows`, `waiting` or `batch` is not a whole number.
    """

    megabytes: float = 16
    megapixels: float = 25
    windows: int = 64
    seconds: float = 30
    waiting: int = 256
    batch: int = 32

    def __post_init__(self) -> None:
        for name in ("megabytes", "megapixels", "seconds"):
            if not 0 < (value := getattr(self, name)) < math.inf:
                raise ValueError(f"{name} {value:g} is not above 0 and finite: give a number that is")
        if self.megapixels > _READABLE:
            raise ValueError(f"megapixels {self.megapixels:g} is above {_READABLE}, all that Pillow reads: give less")
        for name in ("windows", "waiting", "batch"):
            if not isinstance(value := getattr(self, name), int) or value < 1:
                raise ValueError(f"{name} {value} is not a whole number of at least 1: give one")


class Bodies:
    """Reads bodies of requests within limits, for each and for all that are held at a time."""

    def __init__(self, limits: Limits):
        self.limits, self.held = limits, 0

    @asynccontextmanager
    async def of(self, request: Request) -> AsyncIterator[bytearray]:
        """The body of a request. Raises HTTPException if it is a form, empty or too large."""
        if request.headers.get("content-type", "").startswith("multipart/"):
            line = "the body is a form: send the file itself, as in curl --data-binary @FILE in place of curl -F"
            raise HTTPException(415, line)
        most, stated = int(self.limits.megabytes * 1e6), request.headers.get("content-length", "")
        line = f"the body has more than {self.limits.megabytes:g} MB: send a smaller file, or start the server with"
        too_much = HTTPException(413, f"{line} --max-mb")
        if stated.isdecimal() and int(stated) > most:
            raise too_much
        body = bytearray()
        try:
            async for part in request.stream():
                body += part
                self.held += len(part)
                if len(body) > most:
                    raise too_much
                if self.held > _BODIES * most:
                    line = f"the server holds {self.held / 1e6:.0f} MB of other requests: send it again later"
                    raise HTTPException(503, line, {"Retry-After": "1"})
            if not body:
                raise HTTPException(400, "the body is empty: send a file, as in curl --data-binary @FILE")
            yield body
        finally:
            self.held -= len(body)


def read_image_body(predictor: Predictor, body: bytearray, name: str, limits: Limits) -> list[np.ndarray]:
    try:
        with Image.open(io.BytesIO(body), formats=FORMATS) as opened:
            if opened.width * opened.height > limits.megapixels * 1e6:
                raise HTTPException(
                    413,
                    f"the image has {opened.width} x {opened.height} pixels, more than {limits.megapixels:g} million: "
                    "send a smaller one, or start the server with --max-mp",
                )
            mode = "L" if predictor.run.in_channels == 1 else "RGB"
            image = read_image(opened, "the image", mode, "send another file")
        return predictor.read(image)
    except HTTPException:
        raise
    except ValueError as error:
        raise HTTPException(400, str(error)) from error
    except Exception as error:  # Pillow's decoders raise all kinds
        known = ", ".join(FORMATS)
        raise HTTPException(400, f"the body cannot be read as an image: send one of {known}") from error


def read_recording_body(predictor: Predictor, body: bytearray, name: str, limits: Limits) -> list[np.ndarray]:
    ending = Path(name).suffix.lower()
    if ending not in RECORDINGS:
        given = f"the name {name[:80]!r} does not end" if name else "the recording has no name that ends"
        raise HTTPException(400, f"{given} in one of {' '.join(RECORDINGS)}: give one, as in ?name=seven.bin")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"recording{ending}"
        path.write_bytes(body)
        try:
            _check_recording(predictor, path, limits)
            return predictor.read(path)
        except (ValueError, ImportError) as error:
            line = str(error).replace(str(path), "the recording")
            raise HTTPException(400, f"{line}: send another file" if ":" not in line else line) from error


def _check_recording(predictor: Predictor, path: Path, limits: Limits) -> None:
    """Refuses what a small file would unpack to, or be cut into, without end."""
    if path.suffix == ".npz":
        try:
            with zipfile.ZipFile(path) as packed:
                size = sum(part.file_size for part in packed.infolist())
        except zipfile.BadZipFile as error:
            raise ValueError(f"{path} cannot be read as a recording ({error})") from error
        if size > 8 * limits.megabytes * 1e6:
            raise HTTPException(413, f"the recording unpacks to {size / 1e6:.0f} MB: send it in parts")
    from spikeformers.data.events.prepared import holds_frames
    from spikeformers.data.events.recording import read_events
    from spikeformers.data.events.windows import window_of

    window = window_of(predictor.preprocess)
    if window is None or holds_frames(path):  # such a file is one window
        return
    if (count := window.most(read_events(path))) > limits.windows:
        what = "events" if window.of_events else "time"
        raise HTTPException(
            413, f"the recording has {count} windows of {what}, more than {limits.windows}: send it in parts"
        )
