"""The formats that `export` writes: a file each, with `write` and the model that runs what it wrote.

Nothing here imports torch, or a format's own library, before a format is used.
"""

import importlib
from pathlib import Path
from typing import Any, NamedTuple

from spikeformers.deploy.formats.files import ExportedModel


class Format(NamedTuple):
    """What the table knows of a format, before its library is imported."""

    forms: tuple[str, ...]  # whole, step, scan
    needs: tuple[str, ...]  # packages to write it, as they are imported
    extra: str  # of this library, that brings them
    model: str  # the class that runs a file
    endings: tuple[str, ...]  # of its files; the first is the one that is named
    predicts: bool = True  # whether `Predictor` reads it
    grow: bool = False  # whether chains become one convolution even where that has more weights


_ONNX = ("onnx", "onnxscript", "onnxruntime")
FORMATS = {
    "onnx": Format(("whole", "step", "scan"), _ONNX, "onnx", "OnnxModel", (".onnx",)),
    "openvino": Format(("whole",), (*_ONNX, "openvino"), "openvino", "OpenVinoModel", (".xml", ".bin")),
    # torch.export.load unpickles: not for files that a command is given
    "torch": Format(("whole", "step"), (), "", "TorchProgram", (".pt2",), predicts=False),
    "litert": Format(("whole", "step"), ("litert_torch", "ai_edge_litert"), "litert", "LiteRtModel", (".tflite",)),
    "executorch": Format(("whole", "step"), ("executorch",), "executorch", "ExecuTorchModel", (".pte",)),
    # its readers are simulators, and it has no chains
    "nir": Format(("whole",), ("nir",), "nir", "NirModel", (".nir",), predicts=False, grow=True),
}


def format_of(path: str | Path) -> str | None:
    """The format of a file that `Predictor` runs as it was exported, by its name; None of any other."""
    ending = Path(path).suffix.lower()
    return next((name for name, one in FORMATS.items() if one.predicts and one.endings[0] == ending), None)


def module_of(name: str) -> Any:
    """The module of a format."""
    return importlib.import_module(f"{__name__}.{name}")


def run_by(name: str, path: str | Path, threads: int = 1) -> ExportedModel:
    """The model in a file of a format; raises what `ExportedModel` does."""
    return getattr(module_of(name), FORMATS[name].model)(path, threads)
