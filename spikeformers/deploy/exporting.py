"""Trained models as files that run without this library, each checked before it takes its name."""

import importlib.util
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from spikeformers import __version__
from spikeformers.checkpoints.load import build_from
from spikeformers.checkpoints.read import Checkpoint, read_checkpoint
from spikeformers.checkpoints.save import public
from spikeformers.deploy.formats import FORMATS, module_of, run_by
from spikeformers.deploy.formats.files import State
from spikeformers.deploy.formats.graph import step_graph, whole_graph
from spikeformers.deploy.stream import Stream, streaming
from spikeformers.files import atomic_path, check_output, made_folder
from spikeformers.memory import is_shortage
from spikeformers.models import SpikingTransformer
from spikeformers.models.folding import fold

Format = Literal["onnx", "openvino", "torch", "litert", "executorch", "nir"]
Form = Literal["whole", "step", "scan"]
_LEAST_AGREEMENT = 0.95  # of classes; single spikes flip by rounding, and on near ties a class with them
_AS_IN_THE_MODEL = {  # what the share counts, by the model's task
    "classification": "{} get the model's class, logits",
    "segmentation": "the pixels of {} get the model's class, logits",
    "detection": "the anchors of {} score as in the model, scores",
}
_SAME_SCORE = 0.05  # of an anchor or a single class, at most this far from the model's
_AT_ONCE = 16  # inputs of a check, for memory


_Run = Callable[[Tensor], Any]


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
    alone: bool = False  # whether the file takes one input at a time

    def __str__(self) -> str:
        compared = _AS_IN_THE_MODEL[self.task].format(f"{self.images} {self.on}")
        size = sum(self.path.with_suffix(ending).stat().st_size for ending in _endings(self.path)) / 1e6
        one = "; takes one input at a time" if self.alone else ""
        return (
            f"{self.path}: {self.agreement:.2%} of {compared} differ by at most {self.largest:.2g}; "
            f"{1e3 * self.seconds:.1f} ms alone, {1e3 * self.seconds_in_torch:.1f} ms in torch; {size:.1f} MB{one}"
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
    """Exports a model for inference, and keeps the file only if its answers agree with the model's.

        sf.deploy.export("runs/digits", "digits")             # digits/model.onnx
        sf.deploy.Predictor("digits/model.onnx")(["7.png"])   # without torch

    Norms are folded into convolutions, where that makes the model no larger. Preprocessing, class names and the model's
    arguments go into the file's metadata. The file takes any batch size, except that litert and executorch take one
    input at a time; `Predictor` feeds them a batch one by one. The file has the outputs of the model's
    `forward_outputs`. For a detector these are `scores` and `boxes` at all anchors, from which the caller chooses by
    score and non-maximum suppression; for Mask R-CNN the heads on regions are left out.

    Args:
        model: A model, a run folder, a weight file or a `Checkpoint`.
        folder: Where to write; made if missing.
        to: onnx (`model.onnx`), openvino (`model.xml`, `model.bin`), torch (`model.pt2`, for `torch.export.load`),
            litert (`model.tflite`), executorch (`model.pte`, with XNNPACK) or nir (`model.nir`, the graph of `to_nir`
            in steps of 0.1 ms).
        form: whole, a sequence of as many steps as `inputs` have; step (`step.onnx` and so on), one frame, with what
            the model remembers as inputs and outputs; or scan (`scan.onnx`), sequences of any number of steps.
        inputs: `[B, C, H, W]`, or `[T, B, C, H, W]` of recordings, to check the file by; None checks it on noise.
            Pass real inputs: noise may fire too little to show a difference.
        settings: Settings to keep in place of the checkpoint's, with keys `preprocess` and `classes`.

    Returns:
        The file, with its agreement and speed; `print` shows them in one line.

    Raises:
        ImportError: The format's library is missing.
        ValueError: The format or form is unknown, or the two do not go together; the model cannot be exported (for step
            and scan, what `streaming` raises), the format cannot express it, or the file disagrees with the model.
    """
    _check_format(to, form)
    check_output("--out (in Python: folder)", folder, folder=True)
    if not isinstance(model, SpikingTransformer):
        checkpoint = model if isinstance(model, Checkpoint) else read_checkpoint(model)
        settings = settings or checkpoint.settings
        model = build_from(checkpoint)
    model = fold(model, grow=FORMATS[to].grow).cpu().float()
    on = "inputs"
    if inputs is None:
        inputs, on = _noise(model, settings or {}), "images of noise"
    inputs = torch.as_tensor(inputs).cpu().float()
    if not inputs.numel():
        raise ValueError(f"inputs of shape {list(inputs.shape)} hold nothing to check the file by: give some, or None")
    folder = Path(folder)
    step = None if form == "whole" else streaming(model)
    graph = step_graph(step, inputs, form) if step else getattr(module_of(to), "graph_of", whole_graph)(model, inputs)
    time_steps = len(inputs) if form == "whole" and inputs.ndim == 5 else model.time_steps  # whole is of these alone
    metadata = _metadata(model, settings or {}, time_steps)
    text = json.dumps(metadata | {"outputs": [*graph.outputs]} | _described(form, step, inputs))
    with made_folder(folder), tempfile.TemporaryDirectory(dir=folder, prefix=".unfinished-") as unfinished:
        try:
            made = module_of(to).write(graph, Path(unfinished), text)
            run = run_by(to, made, torch.get_num_threads())
            agreement, largest, seconds, in_torch = _checked(model, inputs, lambda x: run.outputs(x.numpy()))
        except Exception as error:  # of other libraries, whose errors share no class
            if is_shortage(error):
                raise
            others = [name for name in ("onnx", "torch") if name != to and form in FORMATS[name].forms]
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            raise ValueError(
                f"{to} cannot express this model ({reason}): take {f'--to {others[0]}' if others else '--form whole'}"
            ) from error
        if agreement < _LEAST_AGREEMENT:
            compared = _AS_IN_THE_MODEL[model.task].format(f"{_batch(inputs)} {on}")
            raise ValueError(
                f"the {to} file was not written: only {agreement:.1%} of {compared} differ by {largest:.2g}; pass real "
                "inputs, or another format"
            )
        for file in (made.with_suffix(ending) for ending in reversed(_endings(made))):
            with atomic_path(folder / file.name) as path:
                file.replace(path)
    images = _batch(inputs)
    return Exported(folder / made.name, agreement, largest, images, seconds, in_torch, on, model.task, run.alone)


def _check_format(to: str, form: str) -> None:
    """Raises ValueError for a format or form that there is not, ImportError for what a format needs."""
    if to not in FORMATS:
        raise ValueError(f"format {to!r} is unknown: choose {', '.join(FORMATS)}")
    if form not in get_args(Form):
        raise ValueError(f"form {form!r} is unknown: choose {', '.join(get_args(Form))}")
    if form not in FORMATS[to].forms:
        others = " or ".join(name for name, one in FORMATS.items() if form in one.forms)
        raise ValueError(f"{to} has no form {form}: choose {others}, or form whole")
    if missing := [package for package in FORMATS[to].needs if importlib.util.find_spec(package) is None]:
        raise ImportError(f"export to {to} needs {missing[0]}: pip install 'spikeformers[{FORMATS[to].extra}]'")


def _endings(path: Path) -> tuple[str, ...]:
    """Of all files of the format of `path`."""
    return next(one.endings for one in FORMATS.values() if path.suffix in one.endings)


def _batch(inputs: Tensor) -> int:
    return inputs.shape[1 if inputs.ndim == 5 else 0]


def _noise(model: SpikingTransformer, settings: dict[str, Any]) -> Tensor:
    steps = (model.time_steps,) if "frames_by" in settings.get("preprocess", {}) or model.in_channels == 2 else ()
    shape = (*steps, 16, *model.image_shape)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def _metadata(model: SpikingTransformer, settings: dict[str, Any], time_steps: int) -> dict[str, Any]:
    """What a file carries: it goes to other machines, so places on this one are left out, as in a published model."""
    told = public({**settings, "config": model.config})
    kept = {key: told[key] for key in ("config", "preprocess", "classes", "recipe", "license") if key in told}
    return {
        **kept,
        "spikeformers": __version__,
        "task": model.task,
        "in_channels": model.in_channels,
        "num_classes": model.num_classes,
        "time_steps": time_steps,
    }


def _described(form: Form, step: Stream | None, inputs: Tensor) -> dict[str, Any]:
    """What a file's metadata says of its form, and of the state that it begins with."""
    if step is None:
        return {}
    state, (height, width) = [], inputs.shape[-2:]
    for name, kept in zip(step.names, step.initial(1, (height, width)), strict=True):
        if kept.numel() and (kept != kept.flatten()[0]).any():
            raise ValueError(
                f"{name} starts from different numbers, and a step file stores one per tensor: use form whole"
            )
        value = kept.flatten()[0].item() if kept.numel() else 0
        state.append(State(name, list(kept.shape[1:]), str(kept.dtype).removeprefix("torch."), value))
    return {"form": form, "state": state}


@torch.inference_mode()
def _checked(model: SpikingTransformer, inputs: Tensor, run: _Run) -> tuple[float, float, float, float]:
    """Share that agrees, largest difference of the first output, seconds per input alone by `run` and by the model."""
    axis = 1 if inputs.ndim == 5 else 0
    agreed, compared, largest = 0, 0, 0.0
    for part in inputs.split(_AT_ONCE, axis):
        outputs, made = [*model.forward_outputs(part).values()], [torch.from_numpy(y) for y in run(part)]
        shapes, wanted = ([list(y.shape) for y in every] for every in (made, outputs))
        if shapes != wanted:
            raise ValueError(f"the exported file gives {shapes} instead of {wanted}")
        found, expected = made[0], outputs[0]
        for what, numbers in (("model", expected), ("exported file", found)):
            if not numbers.isfinite().all():
                raise ValueError(f"the {what} answers with numbers that are not finite")
        if model.task == "detection":
            same = (found - expected).abs().amax(-1) <= _SAME_SCORE
        elif expected.shape[1] == 1:  # a single class is always the highest
            same = (found - expected).abs().amax(1) <= _SAME_SCORE
        else:
            same = found.argmax(1) == expected.argmax(1)
        agreed, compared = agreed + int(same.sum()), compared + same.numel()
        largest = max(largest, (found - expected).abs().max().item())
    one = inputs.narrow(axis, 0, 1).contiguous()
    return agreed / compared, largest, _seconds(run, one), _seconds(model.forward_outputs, one)


def _seconds(run: _Run, one: Tensor) -> float:
    run(one)
    times = []
    for _ in range(5):
        begun = time.perf_counter()
        run(one)
        times.append(time.perf_counter() - begun)
    return sorted(times)[2]
