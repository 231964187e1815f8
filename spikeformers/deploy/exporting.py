"""Files that run without this library: ONNX, OpenVINO, and torch's own exported programs."""

import importlib.util
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from spikeformers import __version__
from spikeformers.checkpoints.load import build_from
from spikeformers.checkpoints.read import Checkpoint, read_checkpoint
from spikeformers.deploy.onnx_model import METADATA, OnnxModel
from spikeformers.files import atomic_path, check_output
from spikeformers.models import SpikingTransformer
from spikeformers.models.folding import fold

Format = Literal["onnx", "openvino", "torch"]
_NEEDS = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "torch": ()}
_NEEDS["openvino"] = (*_NEEDS["onnx"], "openvino")
_ENDINGS = {".onnx": (".onnx",), ".pt2": (".pt2",), ".xml": (".xml", ".bin")}  # the files of a format
_LEAST_AGREEMENT = 0.95  # of classes; single spikes flip by rounding, and on near ties a class with them


@dataclass(frozen=True)
class Exported:
    """A file that was written, and how it was checked on `images` inputs."""

    path: Path
    agreement: float  # share of inputs that get the model's class
    largest: float  # difference of logits
    images: int
    seconds: float  # an input by the file, in a batch of one, on this machine
    seconds_in_torch: float
    on: str  # what the inputs were

    def __str__(self) -> str:
        size = sum(self.path.with_suffix(ending).stat().st_size for ending in _ENDINGS[self.path.suffix]) / 1e6
        return (
            f"{self.path}: {self.agreement:.2%} of {self.images} {self.on} get the model's class, logits differ by at "
            f"most {self.largest:.2g}; {1e3 * self.seconds:.1f} ms alone, {1e3 * self.seconds_in_torch:.1f} ms in "
            f"torch; {size:.1f} MB"
        )


def export(
    model: SpikingTransformer | Checkpoint | str | Path,
    folder: str | Path,
    to: Format = "onnx",
    *,
    inputs: Tensor | None = None,
    settings: dict[str, Any] | None = None,
) -> Exported:
    """Exports a model for inference, with any batch size, and checks the file before it takes its name.

        sf.deploy.export("runs/digits", "digits")             # digits/model.onnx
        sf.deploy.Predictor("digits/model.onnx")(["7.png"])   # without torch

    Norms are folded into convolutions. Preprocessing, class names and the model's arguments go into the file's
    metadata.

    Args:
        model: A model, a run folder, a weight file or a `Checkpoint`.
        folder: Where to write; made if missing.
        to: onnx (`model.onnx`), openvino (`model.xml`, `model.bin`) or torch (`model.pt2`, for `torch.export.load`).
        inputs: `[B, C, H, W]`, or `[T, B, C, H, W]` of recordings, to check the file by; None checks it on noise.
            Pass real inputs: noise may fire too little to show a difference.
        settings: Settings to keep in place of the checkpoint's, with keys `preprocess` and `classes`.

    Returns:
        The file, with its agreement and speed; printed, one line.

    Raises:
        ImportError: The format's library is missing.
        ValueError: The format is unknown, the model cannot be exported, or the file disagrees with the model.
    """
    if to not in _NEEDS:
        raise ValueError(f"format {to!r} is unknown: choose {', '.join(sorted(_NEEDS))}")
    if missing := [package for package in _NEEDS[to] if importlib.util.find_spec(package) is None]:
        extra = "openvino" if to == "openvino" else "onnx"
        raise ImportError(f"export to {to} needs {missing[0]}: pip install 'spikeformers[{extra}]'")
    check_output("--out (in Python: folder)", folder, folder=True)
    if not isinstance(model, SpikingTransformer):
        checkpoint = model if isinstance(model, Checkpoint) else read_checkpoint(model)
        settings = settings or checkpoint.settings
        model = build_from(checkpoint)
    model = fold(model.cpu())
    on = "inputs"
    if inputs is None:
        inputs, on = _noise(model, settings or {}), "images of noise"
    inputs = inputs.cpu().float()
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    program = _program(model, inputs)
    text = json.dumps(_metadata(model, settings or {}))
    with tempfile.TemporaryDirectory(dir=folder, prefix=".unfinished-") as unfinished:
        made, run = _WRITERS[to](program, Path(unfinished), text)
        found = _checked(model, inputs, run)
        agreement, largest, seconds, in_torch = found
        if agreement < _LEAST_AGREEMENT:
            raise ValueError(
                f"the {to} file gives only {agreement:.1%} of {_batch(inputs)} {on} the model's class, so it was not "
                "written: pass real inputs, or another format"
            )
        for file in (made.with_suffix(ending) for ending in reversed(_ENDINGS[made.suffix])):
            with atomic_path(folder / file.name) as path:
                file.replace(path)
    return Exported(folder / made.name, agreement, largest, _batch(inputs), seconds, in_torch, on)


def _batch(inputs: Tensor) -> int:
    return inputs.shape[1 if inputs.ndim == 5 else 0]


def _noise(model: SpikingTransformer, settings: dict[str, Any]) -> Tensor:
    steps = (model.time_steps,) if "frames_by" in settings.get("preprocess", {}) or model.in_channels == 2 else ()
    shape = (*steps, 16, *model.image_shape)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def _metadata(model: SpikingTransformer, settings: dict[str, Any]) -> dict[str, Any]:
    kept = {key: settings[key] for key in ("preprocess", "classes", "recipe", "license") if key in settings}
    return {
        **kept,
        "spikeformers": __version__,
        "config": model.config,
        "in_channels": model.in_channels,
        "num_classes": model.num_classes,
        "time_steps": model.time_steps,
    }


def _program(model: SpikingTransformer, inputs: Tensor) -> torch.export.ExportedProgram:
    axis = 1 if inputs.ndim == 5 else 0
    example = inputs.narrow(axis, 0, 1).repeat_interleave(2, axis)  # a batch of one would be taken for a constant
    batch = torch.export.Dim("batch", min=1, max=65536)
    with torch.no_grad():
        return torch.export.export(model, (example,), dynamic_shapes=({axis: batch},))


def _as_torch(program: torch.export.ExportedProgram, folder: Path, text: str) -> tuple[Path, Callable[[Tensor], Any]]:
    path = folder / "model.pt2"
    torch.export.save(program, path, extra_files={METADATA: text})
    return path, torch.export.load(path).module()


def _as_onnx(program: torch.export.ExportedProgram, folder: Path, text: str) -> tuple[Path, Callable[[Tensor], Any]]:
    path = folder / "model.onnx"
    made = torch.onnx.export(program, input_names=["x"], output_names=["logits"], dynamo=True, verbose=False)
    if made is None:
        raise ValueError("torch.onnx.export gave no program: take --to torch")
    made.model.metadata_props[METADATA] = text
    made.save(path)
    model = OnnxModel(path, threads=torch.get_num_threads())
    return path, lambda x: model(x.numpy())


def _as_openvino(
    program: torch.export.ExportedProgram, folder: Path, text: str
) -> tuple[Path, Callable[[Tensor], Any]]:
    import openvino  # pyright: ignore[reportMissingImports]

    with tempfile.TemporaryDirectory() as other:
        model = openvino.convert_model(_as_onnx(program, Path(other), text)[0])
        model.set_rt_info(text, METADATA)
        openvino.save_model(model, folder / "model.xml", compress_to_fp16=False)
    settings = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    request = openvino.Core().compile_model(folder / "model.xml", "CPU", settings).create_infer_request()
    return folder / "model.xml", lambda x: request.infer({0: x.numpy()})[0].copy()


_WRITERS = {"onnx": _as_onnx, "openvino": _as_openvino, "torch": _as_torch}


@torch.inference_mode()
def _checked(
    model: SpikingTransformer, inputs: Tensor, run: Callable[[Tensor], Any]
) -> tuple[float, float, float, float]:
    """Share of equal classes, largest difference of logits, seconds an input alone by `run` and by the model."""
    expected, found = model(inputs), torch.from_numpy(np.asarray(run(inputs)))
    if found.shape != expected.shape:
        raise ValueError(f"the exported file gives {list(found.shape)} instead of {list(expected.shape)}")
    agreement = (found.argmax(-1) == expected.argmax(-1)).double().mean().item()
    one = inputs.narrow(1 if inputs.ndim == 5 else 0, 0, 1).contiguous()
    return agreement, (found - expected).abs().max().item(), _seconds(run, one), _seconds(model, one)


def _seconds(run: Callable[[Tensor], Any], one: Tensor) -> float:
    run(one)
    times = []
    for _ in range(5):
        begun = time.perf_counter()
        run(one)
        times.append(time.perf_counter() - begun)
    return sorted(times)[2]
