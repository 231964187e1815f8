"""Exported ONNX files with 8-bit weights: counts of spikes stay what they are, and their products run in integers."""

import dataclasses
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spikeformers.deploy.formats import format_of
from spikeformers.deploy.formats.onnx import OnnxModel
from spikeformers.deploy.onnx_integers import IntegerGraph
from spikeformers.files import atomic_path, check_output, made_folder

if TYPE_CHECKING:
    from spikeformers.checkpoints.read import Checkpoint
    from spikeformers.models import SpikingTransformer

_LEAST_AGREEMENT = 0.9  # of classes
_MOST_LOST = 0.005  # of accuracy, beyond chance
_TOGETHER, _EXPORTED = 64, 256  # inputs in a batch, and those that the float32 file is checked on


@dataclass(frozen=True)
class Quantized:
    """An int8 file, and how it compares with the float32 file that it was made of, on `images` inputs."""

    path: Path
    agreement: float  # share of inputs that get the same class
    accuracy: float | None  # share of inputs that get the right class, if labels were given
    accuracy_before: float | None
    images: int
    seconds: float  # an input, in a batch of one, on this machine
    seconds_before: float
    bytes: int
    bytes_before: int
    integers: int  # products with weights that run in integers
    products: int  # all of them
    on: str  # what the inputs were

    def __str__(self) -> str:
        right = "" if self.accuracy is None else f"{self.accuracy:.2%} right ({self.accuracy_before:.2%} in float32); "
        return (
            f"{self.path}: {self.agreement:.2%} of {self.images} {self.on} get the float32 file's class; {right}"
            f"{1e3 * self.seconds:.1f} ms alone ({1e3 * self.seconds_before:.1f}), {self.bytes / 1e6:.1f} MB "
            f"({self.bytes_before / 1e6:.1f}); {self.integers} of {self.products} products in integers"
        )


def quantize(
    model: "SpikingTransformer | Checkpoint | str | Path",
    folder: str | Path,
    *,
    inputs: Any = None,
    labels: Any = None,
    settings: dict[str, Any] | None = None,
) -> Quantized:
    """Exports a model to ONNX with int8 weights, as `model-int8.onnx`, and keeps it only if it agrees with float32.

        sf.deploy.quantize("runs/digits", "digits", inputs=images, labels=labels)
        sf.deploy.Predictor("digits/model-int8.onnx")(["7.png"])

    Weights get a scale for each output channel. Where the graph shows that a tensor holds spikes or counts, it becomes
    uint8 without loss, scaled by the value of one spike, and its product with weights runs in integers. Membranes,
    sums that are not counts, depthwise convolutions and the convolution on the image stay float32. No calibration is
    needed, and no `reduce_range`: counts are small, so no sum saturates on processors without VNNI.

    Args:
        model: What `export` takes, or an `.onnx` that it wrote.
        folder: Where to write; made if missing.
        inputs: `[B, C, H, W]`, or `[T, B, C, H, W]` of recordings, to check the file by; None checks it on noise.
        labels: `[B]`, the classes of the inputs; with them accuracy is checked too.
        settings: As for `export`.

    Returns:
        The file, with its agreement, accuracy, speed and size; `print` shows them in one line.

    Raises:
        ImportError: `onnx` or `onnxruntime` is missing.
        ValueError: What `export` raises, no product reads counts, or the file disagrees with the float32 one: less than
            90 % of the inputs get its class, or accuracy falls by more than 0.5 points and two standard errors.
    """
    check_output("--out (in Python: folder)", folder, folder=True)
    folder = Path(folder)
    _check_labels(inputs, labels)
    _check_task(getattr(model, "task", "classification"))
    with (
        made_folder(folder),
        tempfile.TemporaryDirectory(dir=folder, prefix=".unfinished-") as unfinished,
    ):
        if isinstance(model, str | Path) and format_of(model):
            if settings is not None:
                raise ValueError(f"{model} has settings of its own: leave settings out, or give them to export")
            before = Path(model)
        else:
            import torch

            from spikeformers.deploy.exporting import export

            some = None if inputs is None else torch.as_tensor(inputs)
            if some is not None:  # export runs them in one batch
                axis = 1 if some.ndim == 5 else 0
                some = some[(slice(None),) * axis + (slice(None, None, max(1, some.shape[axis] // _EXPORTED)),)]
            before = export(model, unfinished, "onnx", inputs=some, settings=settings).path
        _check_task(OnnxModel(before).settings.get("task", "classification"))
        made = Path(unfinished) / f"{before.stem}-int8.onnx"
        integers, products = _write(before, made)
        found = _compared(OnnxModel(before), OnnxModel(made), inputs, labels)
        found = dataclasses.replace(found, path=folder / made.name, integers=integers, products=products)
        _check(found)
        with atomic_path(folder / made.name) as path:
            made.replace(path)
    return found


def _check_labels(inputs: Any, labels: Any) -> None:
    if labels is None:
        return
    if inputs is None:
        raise ValueError("labels were given without inputs: give both")
    shape = tuple(np.shape(inputs))
    wanted = shape[1 if len(shape) == 5 else 0 :][:1]
    if tuple(np.shape(labels)) != wanted:
        raise ValueError(f"labels of shape {list(np.shape(labels))} are not {list(wanted)}, one class for each input")


def _check_task(task: str) -> None:
    if task != "classification":
        raise ValueError(f"int8 export is for classifiers, but this model is for {task}: export it without int8")


def _check(found: Quantized) -> None:
    if found.agreement < _LEAST_AGREEMENT:
        raise ValueError(
            f"with int8 weights only {found.agreement:.1%} of {found.images} {found.on} get the float32 file's class, "
            "so it was not written: pass real inputs, or export without int8"
        )
    if found.accuracy is None or found.accuracy_before is None:
        return
    chance = 2 * math.sqrt((1 - found.agreement) / found.images)
    if found.accuracy_before - found.accuracy > _MOST_LOST + chance:
        raise ValueError(
            f"the int8 file was not written: on {found.images} inputs its accuracy is {found.accuracy:.2%}, and "
            f"{found.accuracy_before:.2%} in float32; export without int8"
        )


def _compared(before: Any, after: Any, inputs: Any, labels: Any) -> Quantized:
    from spikeformers.deploy.exporting import _seconds

    on = "inputs" if inputs is not None else "images of noise"
    if inputs is None:
        shape = [side if isinstance(side, int) else 16 for side in before.session.get_inputs()[0].shape]
        inputs = np.random.default_rng(0).standard_normal(shape)
    inputs = np.asarray(inputs, np.float32)
    axis = 1 if inputs.ndim == 5 else 0
    batches = np.array_split(inputs, math.ceil(inputs.shape[axis] / _TOGETHER), axis)
    logits = [np.concatenate([run(batch) for batch in batches]) for run in (before, after)]
    if not all(np.isfinite(numbers).all() for numbers in logits):
        raise ValueError("the exported file answers with numbers that are not finite")
    first, then = (numbers.argmax(-1) for numbers in logits)
    one: Any = inputs[:, :1] if axis else inputs[:1]
    return Quantized(
        path=after.path,
        agreement=float((first == then).mean()),
        accuracy=None if labels is None else float((then == np.asarray(labels)).mean()),
        accuracy_before=None if labels is None else float((first == np.asarray(labels)).mean()),
        images=len(first),
        seconds=_seconds(after, one),
        seconds_before=_seconds(before, one),
        bytes=after.path.stat().st_size,
        bytes_before=before.path.stat().st_size,
        integers=0,
        products=0,
        on=on,
    )


def _write(before: Path, after: Path) -> tuple[int, int]:
    """Writes the int8 file; gives how many of its products run in integers, and how many there are."""
    try:
        import onnx
    except ImportError:
        raise ImportError("int8 weights need onnx: pip install 'spikeformers[onnx]'") from None
    channels = OnnxModel(before).in_channels
    model = onnx.load(before)
    writer = IntegerGraph(model.graph, channels, {})
    if not writer.integers:
        raise ValueError(
            f"no product of {before.name} reads spikes or counts, so int8 gains nothing: export without it"
        )
    onnx.save(model, after)
    return writer.integers, writer.products
