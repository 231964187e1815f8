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
from torch import Tensor, nn

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
_AS_IN_THE_MODEL = {  # what the share counts, by the model's task
    "classification": "{} get the model's class, logits",
    "segmentation": "the pixels of {} get the model's class, logits",
    "detection": "the anchors of {} score as in the model, scores",
}
_SAME_SCORE = 0.05  # of an anchor, at most this far from the model's

Run = Callable[[Tensor], list[np.ndarray]]  # by an exported file, all outputs


@dataclass(frozen=True)
class Exported:
    """A file that was written, and how it was checked on `images` inputs."""

    path: Path
    agreement: float  # share of inputs, pixels or anchors that get the model's class or scores
    largest: float  # difference of logits or scores
    images: int
    seconds: float  # an input by the file, in a batch of one, on this machine
    seconds_in_torch: float
    on: str  # what the inputs were
    task: str = "classification"  # the model's

    def __str__(self) -> str:
        compared = _AS_IN_THE_MODEL[self.task].format(f"{self.images} {self.on}")
        size = sum(self.path.with_suffix(ending).stat().st_size for ending in _ENDINGS[self.path.suffix]) / 1e6
        return (
            f"{self.path}: {self.agreement:.2%} of {compared} differ by at most {self.largest:.2g}; "
            f"{1e3 * self.seconds:.1f} ms alone, {1e3 * self.seconds_in_torch:.1f} ms in torch; {size:.1f} MB"
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
    metadata. The file has the outputs of the model's `forward_outputs`: of a detector these are `scores` and `boxes` at
    all anchors, from which the caller chooses by score and non-maximum suppression; of Mask R-CNN the heads on regions
    are left out.

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
    with torch.inference_mode():
        outputs = [*model.forward_outputs(inputs.narrow(inputs.ndim - 4, 0, 1))]
    text = json.dumps({**_metadata(model, settings or {}), "outputs": outputs})
    with tempfile.TemporaryDirectory(dir=folder, prefix=".unfinished-") as unfinished:
        made, run = _WRITERS[to](program, Path(unfinished), text)
        found = _checked(model, inputs, run)
        agreement, largest, seconds, in_torch = found
        if agreement < _LEAST_AGREEMENT:
            compared = _AS_IN_THE_MODEL[model.task].format(f"{_batch(inputs)} {on}")
            raise ValueError(
                f"the {to} file was not written: only {agreement:.1%} of {compared} differ by {largest:.2g}; pass real "
                "inputs, or another format"
            )
        for file in (made.with_suffix(ending) for ending in reversed(_ENDINGS[made.suffix])):
            with atomic_path(folder / file.name) as path:
                file.replace(path)
    return Exported(folder / made.name, agreement, largest, _batch(inputs), seconds, in_torch, on, model.task)


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
        "task": model.task,
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
        return torch.export.export(_Outputs(model), (example,), dynamic_shapes=({axis: batch},))


class _Outputs(nn.Module):
    """A model whose outputs are those of `forward_outputs`, in order; one alone is no tuple."""

    def __init__(self, model: SpikingTransformer):
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        first, *more = self.model.forward_outputs(x).values()
        return (first, *more) if more else first


def _as_torch(program: torch.export.ExportedProgram, folder: Path, text: str) -> tuple[Path, Run]:
    path = folder / "model.pt2"
    torch.export.save(program, path, extra_files={METADATA: text})
    loaded = torch.export.load(path).module()

    def run(x: Tensor) -> list[np.ndarray]:
        made = loaded(x)
        return [output.numpy() for output in (made if isinstance(made, tuple) else (made,))]

    return path, run


def _as_onnx(program: torch.export.ExportedProgram, folder: Path, text: str) -> tuple[Path, Run]:
    path = folder / "model.onnx"
    settings = json.loads(text)
    # onnxscript's optimiser breaks graphs in which two neurons read one map, as the branches of a detector do
    optimize = settings["task"] == "classification"
    made = torch.onnx.export(
        program, input_names=["x"], output_names=settings["outputs"], dynamo=True, verbose=False, optimize=optimize
    )
    if made is None:
        raise ValueError("torch.onnx.export gave no program: take --to torch")
    made.model.metadata_props[METADATA] = text
    made.save(path)
    model = OnnxModel(path, threads=torch.get_num_threads())
    return path, lambda x: model.outputs(x.numpy())


def _as_openvino(program: torch.export.ExportedProgram, folder: Path, text: str) -> tuple[Path, Run]:
    import openvino  # pyright: ignore[reportMissingImports]

    with tempfile.TemporaryDirectory() as other:
        model = openvino.convert_model(_as_onnx(program, Path(other), text)[0])
        model.set_rt_info(text, METADATA)
        openvino.save_model(model, folder / "model.xml", compress_to_fp16=False)
    settings = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    request = openvino.Core().compile_model(folder / "model.xml", "CPU", settings).create_infer_request()
    return folder / "model.xml", lambda x: [output.copy() for output in request.infer({0: x.numpy()}).values()]


_WRITERS = {"onnx": _as_onnx, "openvino": _as_openvino, "torch": _as_torch}


@torch.inference_mode()
def _checked(model: SpikingTransformer, inputs: Tensor, run: Run) -> tuple[float, float, float, float]:
    """Share that agrees, largest difference of the first output, seconds an input alone by `run` and by the model."""
    outputs, made = [*model.forward_outputs(inputs).values()], [torch.from_numpy(np.asarray(y)) for y in run(inputs)]
    shapes, wanted = ([list(y.shape) for y in every] for every in (made, outputs))
    if shapes != wanted:
        raise ValueError(f"the exported file gives {shapes} instead of {wanted}")
    found, expected = made[0], outputs[0]
    if model.task == "detection":
        same = (found - expected).abs().amax(-1) <= _SAME_SCORE
    else:
        same = found.argmax(1) == expected.argmax(1)
    one = inputs.narrow(1 if inputs.ndim == 5 else 0, 0, 1).contiguous()
    spent = _seconds(run, one), _seconds(model.forward_outputs, one)
    return same.double().mean().item(), (found - expected).abs().max().item(), *spent


def _seconds(run: Callable[[Tensor], Any], one: Tensor) -> float:
    run(one)
    times = []
    for _ in range(5):
        begun = time.perf_counter()
        run(one)
        times.append(time.perf_counter() - begun)
    return sorted(times)[2]
