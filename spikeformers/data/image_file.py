"""Reading images without torch: every file, file in memory or Pillow object passes through `read_image`."""

import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NoReturn

from PIL import Image, ImageOps, UnidentifiedImageError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".tif", ".tiff", ".gif", ".avif")

SKIP_BROKEN = "skip_broken=True (train: --data.skip_broken true; eval: --skip-broken)"
IN_A_SET = f"replace or delete it, or skip unreadable files with {SKIP_BROKEN}"


def read_image(image: Any, name: str, mode: str = "RGB", remedy: str = IN_A_SET) -> Image.Image:
    """An image from a path, open file or Pillow object, converted to `mode` and rotated by its EXIF tag.

    An animation's file gives its first frame, a Pillow object its current one. Raises ValueError, with `name` and
    `remedy`, if the image cannot be decoded or has more than 8 bits per channel, which Pillow would clip to white.
    """
    try:
        with nullcontext(image) if isinstance(image, Image.Image) else Image.open(image) as opened:
            if opened.mode.startswith(("I", "F")):
                raise _TooDeepError(opened.mode)
            return upright(opened).convert(mode)
    except _TooDeepError as error:
        raise ValueError(f"{name} has more than 8 bits per channel (mode {error}); save it with 8 bits") from None
    except UnidentifiedImageError as error:
        raise ValueError(f"{name} cannot be read as an image (unknown format); {remedy}") from error
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, struct.error and more
        raise ValueError(f"{name} cannot be read as an image ({' '.join(str(error).split())}); {remedy}") from error


class _TooDeepError(Exception):
    pass


def upright(image: Image.Image) -> Image.Image:
    """An image rotated by its EXIF tag. Raises what Pillow raises for pixels that it cannot decode."""
    image.load()  # first, so that broken pixels are not mistaken for broken tags
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # the tags are broken, the pixels are not
        return image


def size_of(path: str) -> tuple[int, int]:
    """Width and height of an image file as `read_image` gives it, from its header. Raises ValueError, with the name."""
    return header_of(path)[0]


def header_of(path: str) -> tuple[tuple[int, int], int]:
    """`size_of` an image file, and its EXIF tag of orientation: 2 to 8, 1 for upright."""
    try:
        with Image.open(path) as image:
            tag = image.getexif().get(0x0112, 1)
            tag = tag if tag in (2, 3, 4, 5, 6, 7, 8) else 1
            return ((image.height, image.width) if tag > 4 else (image.width, image.height)), tag
    except Exception as error:
        raise ValueError(f"{path} cannot be read as an image ({' '.join(str(error).split())}); {IN_A_SET}") from error


def files_below(folder: Path) -> list[str]:
    """All files below a folder except hidden ones, sorted by folder, then by name.

    Raises OSError for a folder that cannot be opened.
    """
    found = []
    for root, folders, files in os.walk(folder, onerror=_raise, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found.append((root, sorted(name for name in files if not name.startswith("."))))  # macOS leaves "._cat.jpg"
    return [f"{root}{os.sep}{name}" for root, names in sorted(found) for name in names]


def is_image_name(path: str | Path) -> bool:
    """Whether a file's extension is that of an image."""
    return str(path).lower().endswith(EXTENSIONS)


def _raise(error: OSError) -> NoReturn:
    raise error
