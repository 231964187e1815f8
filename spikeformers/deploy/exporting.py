"""Files that run without this library: ONNX, OpenVINO, NIR, and torch's own exported programs."""

import importlib.util
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from spikeformers import __version__
from spikeformers.checkpoints.load import build_from
from spikeformers.checkpoints.read import Checkpoint, read_checkpoint
from spikeformers.deploy.nir_graph import to_nir
from spikeformers.deploy.nir_run import run_nir
from spikeformers.deploy.onnx_model import METADATA, OnnxModel, State
from spikeformers.deploy.onnx_scan import scan_of
from spikeformers.deploy.stream import Stream, streaming
from spikeformers.files import atomic_path, check_output, made_folder
from spikeformers.models import SpikingTransformer
from spikeformers.models.folding import fold

Format = Literal["onnx", "openvino", "torch", "nir"]
Form = Literal["whole", "step", "scan"]
_FORMS = {
    "whole": ("onnx", "openvino", "torch", "nir"),
    "step": ("onnx", "torch"),
    "scan": ("onnx",),
}  # and their formats
_NEEDS = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "torch": (), "nir": ("nir",)}
_NEEDS["openvino"] = (*_NEEDS["onnx"], "openvino")
_ENDINGS = {
    ".onnx": (".onnx",),
    ".pt2": (".pt2",),
    ".xml": (".xml", ".bin"),
    ".nir": (".nir",),
}  # the files of a format
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
    form: Form = "whole",
    inputs: Tensor | None = None,
    settings: dict[str, Any] | None = None,
) -> Exported:
    """Exports a model for inference, with any batch size, and checks the file before it takes its name.

        sf.deploy.export("runs/digits", "digits")             # digits/model.onnx
        sf.deploy.Predictor("digits/model.onnx")(["7.png"])   # without torch

    Norms are folded into convolutions, where that makes the model no larger. Preprocessing, class names and the model's
    arguments go into the file's metadata. The file has the outputs of the model's `forward_outputs`: of a detector
    these are `scores` and `boxes` at all anchors, from which the caller chooses by score and non-maximum suppression;
    of Mask R-CNN the heads on regions are left out.

    Args:
        model: A model, a run folder, a weight file or a `Checkpoint`.
        folder: Where to write; made if missing.
        to: onnx (`model.onnx`), openvino (`model.xml`, `model.bin`), torch (`model.pt2`, for `torch.export.load`) or
            nir (`model.nir`, the graph of `to_nir` in steps of 0.1 ms).
        form: whole, a sequence of as many steps as `inputs` have; step (`step.onnx`, `step.pt2`), one frame, with what
            the model remembers as inputs and outputs; or scan (`scan.onnx`), sequences of any number of steps.
        inputs: `[B, C, H, W]`, or `[T, B, C, H, W]` of recordings, to check the file by; None checks it on noise.
            Pass real inputs: noise may fire too little to show a difference.
        settings: Settings to keep in place of the checkpoint's, with keys `preprocess` and `classes`.

    Returns:
        The file, with its agreement and speed; printed, one line.

    Raises:
        ImportError: The format's library is missing.
        ValueError: The format or the form is unknown, the model cannot be exported (for step and scan, what `streaming`
            raises), or the file disagrees with the model.
    """
    if to not in _NEEDS:
        raise ValueError(f"format {to!r} is unknown: choose {', '.join(sorted(_NEEDS))}")
    if form not in _FORMS:
        raise ValueError(f"form {form!r} is unknown: choose {', '.join(_FORMS)}")
    if to not in _FORMS[form]:
        raise ValueError(f"form {form} is not written to {to}: choose {' or '.join(_FORMS[form])}, or form whole")
    if missing := [package for package in _NEEDS[to] if importlib.util.find_spec(package) is None]:
        extra = to if to in ("openvino", "nir") else "onnx"
        raise ImportError(f"export to {to} needs {missing[0]}: pip install 'spikeformers[{extra}]'")
    check_output("--out (in Python: folder)", folder, folder=True)
    if not isinstance(model, SpikingTransformer):
        checkpoint = model if isinstance(model, Checkpoint) else read_checkpoint(model)
        settings = settings or checkpoint.settings
        model = build_from(checkpoint)
    model = fold(model.cpu(), grow=to == "nir")
    on = "inputs"
    if inputs is None:
        inputs, on = _noise(model, settings or {}), "images of noise"
    inputs = inputs.cpu().float()
    folder = Path(folder)
    step = None if form == "whole" else streaming(model)
    if to == "nir":
        if inputs.shape[-3:] != model.image_shape:
            size, given = (" x ".join(map(str, shape)) for shape in (model.image_shape, inputs.shape[-3:]))
            raise ValueError(f"NIR's neurons are for frames of {size}, the model's, and not of {given}: resize them")
        graph: Any = to_nir(model)
    else:
        graph = _program(model, inputs) if step is None else _step_program(step, inputs)
    text = json.dumps(_metadata(model, settings or {}) | {"outputs": [*graph.outputs]} | _described(form, step, inputs))
    with made_folder(folder), tempfile.TemporaryDirectory(dir=folder, prefix=".unfinished-") as unfinished:
        made, run = _WRITERS[to](graph, Path(unfinished), text, form)
        if to == "torch":
            run = _over_time(run, step, model.time_steps) if step else _all_outputs(run)
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


class _Graph(NamedTuple):
    program: torch.export.ExportedProgram
    inputs: list[str]
    outputs: list[str]


_Written = tuple[Path, Callable[..., Any]]  # the file, and what runs it


def _program(model: SpikingTransformer, inputs: Tensor) -> _Graph:
    axis = 1 if inputs.ndim == 5 else 0
    example = inputs.narrow(axis, 0, 1).repeat_interleave(2, axis)  # a batch of one would be taken for a constant
    with torch.no_grad():
        outputs = [*model.forward_outputs(example)]
        program = torch.export.export(_Outputs(model), (example,), dynamic_shapes=({axis: _batch_axis()},))
    return _Graph(program, ["x"], outputs)


def _step_program(step: Stream, inputs: Tensor) -> _Graph:
    frame, state, batch = torch.zeros(2, *inputs.shape[-3:]), _initial(step, 2, inputs), _batch_axis()
    of_parts = [tuple({0: batch} for _ in state[2:])] if state[2:] else []  # of `*state`
    shapes = ({0: batch}, {0: batch}, {0: batch}, *of_parts)
    with torch.no_grad():
        program = torch.export.export(step.answering, (frame, *state), dynamic_shapes=shapes)
    return _Graph(program, ["x", *step.names], ["logits", "logits.mean", *(f"{name}.next" for name in step.names)])


class _Outputs(nn.Module):
    """A model whose outputs are those of `forward_outputs`, in order; of one, without a tuple."""

    def __init__(self, model: SpikingTransformer):
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        first, *others = self.model.forward_outputs(x).values()
        return (first, *others) if others else first


def _batch_axis() -> Any:
    return torch.export.Dim("batch", min=1, max=65536)


def _initial(step: Stream, batch_size: int, like: Tensor) -> tuple[Tensor, ...]:
    height, width = like.shape[-2:]
    return step.initial(batch_size, (height, width))


def _described(form: Form, step: Stream | None, inputs: Tensor) -> dict[str, Any]:
    """What a file's metadata says of its form, and of the state that it begins with."""
    if step is None:
        return {}
    state = []
    for name, kept in zip(step.names, _initial(step, 1, inputs), strict=True):
        if kept.numel() and (kept != kept.flatten()[0]).any():
            raise ValueError(
                f"{name} begins with different numbers, and a step's file has one a tensor: take form whole"
            )
        value = kept.flatten()[0].item() if kept.numel() else 0
        state.append(State(name, list(kept.shape[1:]), str(kept.dtype).removeprefix("torch."), value))
    return {"form": form, "state": state}


def _as_torch(graph: _Graph, folder: Path, text: str, form: Form) -> _Written:
    path = folder / f"{_name(form)}.pt2"
    torch.export.save(graph.program, path, extra_files={METADATA: text})
    return path, torch.export.load(path).module()


def _all_outputs(run: Callable[..., Any]) -> Run:
    """What gives the outputs of a loaded program as a list."""

    def outputs(x: Tensor) -> list[np.ndarray]:
        found = run(x)
        return [y.numpy() for y in ([found] if isinstance(found, Tensor) else found)]

    return outputs


def _over_time(run: Callable[..., Any], step: Stream, time_steps: int) -> Run:
    """What gives the mean of the logits of all steps, by a loaded program of one step."""

    def over_time(x: Tensor) -> list[np.ndarray]:
        frames = x if x.ndim == 5 else x.expand(time_steps, *x.shape)
        state, mean = _initial(step, frames.shape[1], x), x
        for frame in frames:
            _, mean, *state = run(frame, *state)
        return [mean.numpy()]

    return over_time


def _as_onnx(graph: _Graph, folder: Path, text: str, form: Form) -> _Written:
    path = folder / f"{_name(form)}.onnx"
    # onnxscript's optimiser breaks graphs in which two neurons read one map, as the branches of a detector do
    optimize = json.loads(text)["task"] == "classification"
    made = torch.onnx.export(
        graph.program,
        input_names=graph.inputs,
        output_names=graph.outputs,
        dynamo=True,
        verbose=False,
        optimize=optimize,
    )
    if made is None:
        raise ValueError("torch.onnx.export gave no program: take --to torch")
    for node in made.model.graph.all_nodes():  # stack traces: most of a small file, and paths of this machine
        node.metadata_props.clear()
    made.model.metadata_props[METADATA] = text
    made.save(path)
    if form == "scan":
        import onnx

        onnx.save(scan_of(onnx.load(path), (State(*one) for one in json.loads(text)["state"])), path)
    model = OnnxModel(path, threads=torch.get_num_threads())
    return path, lambda x: model.outputs(x.numpy())


def _name(form: Form) -> str:
    return "model" if form == "whole" else form


def _as_openvino(graph: _Graph, folder: Path, text: str, form: Form) -> _Written:
    import openvino  # pyright: ignore[reportMissingImports]

    with tempfile.TemporaryDirectory() as other:
        model = openvino.convert_model(_as_onnx(graph, Path(other), text, form)[0])
        model.set_rt_info(text, METADATA)
        openvino.save_model(model, folder / "model.xml", compress_to_fp16=False)
    settings = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    request = openvino.Core().compile_model(folder / "model.xml", "CPU", settings).create_infer_request()
    return folder / "model.xml", lambda x: [output.copy() for output in request.infer({0: x.numpy()}).values()]


def _as_nir(graph: Any, folder: Path, text: str, form: Form) -> _Written:
    import nir

    graph.metadata[METADATA], path = text, folder / "model.nir"
    nir.write(path, graph)
    made, steps = nir.read(path), json.loads(text)["time_steps"]

    def run(x: Tensor) -> list[np.ndarray]:
        frames = x if x.ndim == 5 else x.expand(steps, *x.shape)
        return [run_nir(made, frames, graph.metadata["dt"]).mean(0).numpy()]

    return path, run


_WRITERS = {"onnx": _as_onnx, "openvino": _as_openvino, "torch": _as_torch, "nir": _as_nir}


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
