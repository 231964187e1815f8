"""Third-party checkpoints: unpack their containers without running any code in them."""

import argparse
import pathlib
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

_CONTAINERS = ("state_dict", "model")  # timm and Lightning; masked-autoencoder code
_EXPORTED = (".onnx", ".xml", ".tflite", ".pte", ".pt2", ".nir")
_PREFIXES = ("module.", "_orig_mod.", "model.")  # DistributedDataParallel, torch.compile, Lightning


def _allowed() -> list[Any]:
    """Types in released files besides tensors and plain Python: settings, NumPy scalars, paths."""
    numpy_types = {
        type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?")
    }
    numpy: Any = np
    numpy_scalar = numpy._core.multiarray.scalar
    old_name = (numpy_scalar, "numpy.core.multiarray.scalar")  # as NumPy before 2 wrote it
    flavours = {
        "Posix": pathlib.PurePosixPath,
        "Windows": pathlib.PureWindowsPath,
    }  # pure: no file access
    paths = [
        (flavour, f"{module}.{pure}{name}Path")
        for name, flavour in flavours.items()
        for pure in ("", "Pure")
        for module in ("pathlib", "pathlib._local")  # the latter as Python 3.13 writes it
    ]
    return [argparse.Namespace, np.dtype, *numpy_types, numpy_scalar, old_name, *paths]


def read_pickle(path: Path) -> dict[str, Any]:
    """Loads a `.pth`, `.pth.tar`, `.pt` or `.ckpt` file with `weights_only` and a fixed list of types.

    Raises ValueError for a damaged file and for one that needs any other type.
    """
    try:
        with torch.serialization.safe_globals(_allowed()):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except PermissionError:  # its message is clear already
        raise
    except pickle.UnpicklingError as error:
        if asked := re.search(r"(?:GLOBAL|global|type:?) [`']?([\w.]+)", str(error)):
            raise ValueError(
                f"{path} is refused: it asks to build {asked[1]}, not only weights: save its state dict"
            ) from error
        raise ValueError(f"{path} is not a readable checkpoint: it may be damaged; fetch it again") from error
    except Exception as error:  # torch raises a dozen kinds on malformed files
        raise ValueError(f"{path} is not a readable checkpoint: it may be cut short; fetch it again") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}, not a dict of weights: save a state dict")
    return content


def stranger(path: Path) -> str:
    """The kind of a file without weights of ours: "a picture, PNG", "JSON", ...; "" if unknown."""
    from PIL import Image, UnidentifiedImageError

    if path.suffix.lower() in _EXPORTED:
        return "an exported model"
    try:
        with Image.open(path) as image:
            return f"a picture, {image.format}"
    except (UnidentifiedImageError, OSError):
        pass
    with path.open("rb") as file:
        begins = file.read(4096)
    try:
        text = begins.decode().lstrip()
    except UnicodeDecodeError as error:
        if error.start < 4093:  # past that, a character may be cut in two
            return ""
        text = begins[: error.start].decode().lstrip()
    if not text or "\0" in text:
        return ""
    kinds = {"{": "JSON", "[": "JSON", "<": "a web page", "version https://git-lfs": "a Git LFS pointer, not the file"}
    return next((kind for start, kind in kinds.items() if text.startswith(start)), "a text")


def unwrap(content: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    """The state dict inside a container, without wrappers' key prefixes. Raises ValueError if there is none."""
    for key in _CONTAINERS:
        if isinstance(content.get(key), Mapping):
            content = content[key]
            break
    weights = {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)}
    if not weights:
        raise ValueError(
            f"{path} holds no weights: its entries are {', '.join(map(str, list(content)[:10])) or 'none'}; "
            "give a state dict"
        )
    if averaged := {k.removeprefix("ema.module."): v for k, v in weights.items() if k.startswith("ema.module.")}:
        weights = averaged  # our training checkpoints evaluate with the averaged weights
    while prefix := next((p for p in _PREFIXES if all(key.startswith(p) for key in weights)), None):
        weights = {key.removeprefix(prefix): value for key, value in weights.items()}  # wrappers nest in any order
    return weights


def training_arguments(content: Mapping[str, Any]) -> dict[str, Any]:
    """The training arguments in a container, as MAE's and timm's code save them."""
    arguments = content.get("args")
    arguments = vars(arguments) if isinstance(arguments, argparse.Namespace) else arguments
    return {"model": content.get("arch", ""), **(arguments if isinstance(arguments, dict) else {})}
