"""Exported ONNX files with 8-bit weights: counts of spikes stay what they are, and their products run in integers."""

import dataclasses
import math
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spikeformers.deploy.counts import Range, ranges
from spikeformers.deploy.formats import format_of
from spikeformers.deploy.formats.onnx import OnnxModel
from spikeformers.files import atomic_path, check_output, made_folder

if TYPE_CHECKING:
    from spikeformers.checkpoints.read import Checkpoint
    from spikeformers.models import SpikingTransformer

_MOST_LEVELS = 128  # two products of 127 and 127 fit int16, where processors without VNNI add them up
_LEAST_AGREEMENT = 0.9  # of classes
_MOST_LOST = 0.005  # of accuracy, beyond chance
_TOGETHER, _EXPORTED = 64, 256  # inputs in a batch, and those that the float32 file is checked on
_SMALL = 1024  # weights: fewer stay float32 unless they meet counts


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
    products: int  # of so many
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
    """Exports a model to ONNX with int8 weights, and checks the file before it takes its name, `model-int8.onnx`.

        sf.deploy.quantize("runs/digits", "digits", inputs=images, labels=labels)
        sf.deploy.Predictor("digits/model-int8.onnx")(["7.png"])

    Weights get a scale for each output channel. Where the graph shows that a tensor holds spikes or counts, it becomes
    uint8 without loss, with a spike's worth as its scale, and its product with weights runs in integers. Membranes,
    sums that are no counts, depthwise convolutions and the image's own convolution stay float32. Nothing is calibrated,
    and as counts are small no sum saturates on processors without VNNI: `reduce_range` is not needed.

    Args:
        model: What `export` takes, or an `.onnx` that it wrote.
        folder: Where to write; made if missing.
        inputs: `[B, C, H, W]`, or `[T, B, C, H, W]` of recordings, to check the file by; None checks it on noise.
        labels: `[B]`, the classes of the inputs; with them accuracy is checked too.
        settings: As for `export`.

    Returns:
        The file, with its agreement, accuracy, speed and size; printed, one line.

    Raises:
        ImportError: `onnx` or `onnxruntime` is missing.
        ValueError: What `export` raises, no product reads counts, or the file disagrees with the float32 one: less than
            90 % of the inputs get its class, or accuracy falls by more than 0.5 points and two standard errors.
    """
    check_output("--out (in Python: folder)", folder, folder=True)
    folder = Path(folder)
    _check_task(getattr(model, "task", "classification"))
    with (
        made_folder(folder),
        tempfile.TemporaryDirectory(dir=folder, prefix=".unfinished-") as unfinished,
    ):
        if isinstance(model, str | Path) and format_of(model):
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


def _check_task(task: str) -> None:
    if task != "classification":
        raise ValueError(f"8 bits are for classifiers, and this model is for {task}: export it without int8")


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
            f"with int8 weights {found.accuracy:.2%} of {found.images} inputs are right in place of "
            f"{found.accuracy_before:.2%}, so it was not written: export without int8"
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
    first, then = (np.concatenate([run(batch) for batch in batches]).argmax(-1) for run in (before, after))
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
    writer = _Graph(model.graph, channels, {})
    if not writer.integers:
        raise ValueError(
            f"no product of {before.name} reads spikes or counts, so int8 gains nothing: export without it"
        )
    onnx.save(model, after)
    return writer.integers, writer.products


class _Graph:
    """Rewrites a graph and the graphs inside it, in place."""

    def __init__(self, graph: Any, channels: int, outer: dict[str, np.ndarray]):
        from onnx import numpy_helper

        self.graph, self.channels = graph, channels
        self.integers = self.products = 0
        self.constants = {**outer, **{tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}}
        self.nodes: list[Any] = []
        self.made: dict[Any, str] = {}  # tensors that several products share
        for node in graph.node:
            if node.op_type == "Constant":
                self.constants |= {node.output[0]: numpy_helper.to_array(node.attribute[0].t)}
        self.ranges = ranges(graph.node, self.constants.get)
        for node in graph.node:
            for inside in [attribute.g for attribute in node.attribute if attribute.HasField("g")]:
                body = _Graph(inside, channels, self.constants)
                self.integers, self.products = self.integers + body.integers, self.products + body.products
            if not self._rewrite(node):
                self.nodes.append(node)
        del graph.node[:]
        graph.node.extend(self.nodes)
        used = {*_names_read(graph)}
        kept = [tensor for tensor in graph.initializer if tensor.name in used]
        del graph.initializer[:]
        graph.initializer.extend(kept)

    def _rewrite(self, node: Any) -> bool:
        weight = self.constants.get(node.input[1]) if node.op_type in ("Conv", "MatMul", "Gemm") else None
        if weight is None or weight.ndim not in (2, 4):
            return False
        self.products += 1
        x, given = node.input[0], {attribute.name: _value(attribute) for attribute in node.attribute}
        if node.op_type == "Gemm" and (given.get("transA") or given.get("alpha", 1) != 1 or given.get("beta", 1) != 1):
            return False
        if node.op_type == "Conv" and (given.get("group", 1) > 1 or weight.shape[1] == self.channels):
            return False
        counts = self.ranges.get(x)
        plain = not {*given.get("dilations", [1])} - {1} and given.get("auto_pad", "NOTSET") == "NOTSET"
        if counts and counts.levels <= _MOST_LEVELS and plain:
            self.integers += 1
            self._in_integers(node, weight, given, counts)
            return True
        if weight.size < _SMALL:
            return False
        axis = 0 if node.op_type == "Conv" or given.get("transB") else 1  # stored as int8, computed in float32
        made = [x, self._weights(node.output[0], weight, axis), *node.input[2:]]
        self._node(node.op_type, made, node.output[0], **given)
        return True

    def _in_integers(self, node: Any, weight: np.ndarray, given: dict[str, Any], counts: Range) -> None:
        """A convolution becomes a product `[B, H, W, k k C] @ [k k C, C_out]`: ONNX Runtime has it in integers."""
        name, conv = node.output[0], node.op_type == "Conv"
        x, zero = self._counts(node.input[0], counts), self._zero(counts)
        if conv:
            x = self._columns(x, zero, weight.shape[2:], given.get("strides", [1, 1]), given.get("pads", [0] * 4))
            weight = weight.transpose(2, 3, 1, 0).reshape(-1, len(weight))
        elif given.get("transB"):
            weight = weight.T
        scale = self._constant(np.float32(counts.unit))
        x = self._node("DequantizeLinear", [x, scale, zero], f"{name}_counts")
        bias = node.input[2] if len(node.input) > 2 else ""
        inner = f"{name}_rows" if conv else name
        product = f"{name}_product" if bias else inner
        self._node("MatMul", [x, self._weights(name, weight, 1)], product)
        if bias:
            self._node("Add", [product, bias], inner)
        if conv:
            self._node("Transpose", [inner], name, perm=[0, 3, 1, 2])

    def _counts(self, x: str, counts: Range) -> str:
        scale, zero = self._constant(np.float32(counts.unit)), self._zero(counts)
        return self._once(("uint8", x), lambda name: self._node("QuantizeLinear", [x, scale, zero], name))

    def _zero(self, counts: Range) -> str:
        return self._constant(np.uint8(round(-counts.low / counts.unit)))

    def _columns(self, x: str, zero: str, kernel: Any, strides: Any, pads: Any) -> str:
        """`[B, C, H, W]` -> `[B, H', W', k k C]`, what the kernel sees at each place; uint8."""
        key = ("columns", x, *kernel, *strides, *pads)
        if key in self.made:
            return self.made[key]
        rows = self._once(("last", x), lambda name: self._node("Transpose", [x], name, perm=[0, 2, 3, 1]))
        if any(pads):
            around = self._constant(np.array([0, *pads[:2], 0, 0, *pads[2:], 0]))
            rows = self._node("Pad", [rows, around, zero], f"{key[1]}_padded_{len(self.made)}")
        axes, steps = self._constant(np.array([1, 2])), self._constant(np.array(strides))
        parts = []
        for i, j in np.ndindex(*kernel):
            if (*kernel, *strides) == (1, 1, 1, 1):
                parts.append(rows)
                continue
            ends = [i - kernel[0] + 1 or 2**31, j - kernel[1] + 1 or 2**31]  # from the end
            begin, end = self._constant(np.array([i, j])), self._constant(np.array(ends))
            parts.append(self._node("Slice", [rows, begin, end, axes, steps], f"{rows}_{len(self.made)}_{i}_{j}"))
        name = f"{rows}_{len(self.made)}_columns"
        self.made[key] = parts[0] if len(parts) == 1 else self._node("Concat", parts, name, axis=3)
        return self.made[key]

    def _weights(self, name: str, weight: np.ndarray, axis: int) -> str:
        """int8 with a scale for each output channel."""
        most = np.abs(weight).max(tuple(a for a in range(weight.ndim) if a != axis), keepdims=True)
        scale = np.where(most > 0, most, 1).astype(np.float32) / np.float32(127)
        whole = np.rint(weight / scale).astype(np.int8)
        given = [
            self._constant(np.ascontiguousarray(a)) for a in (whole, scale.reshape(-1), np.zeros(scale.size, np.int8))
        ]
        return self._node("DequantizeLinear", given, f"{name}_weights", axis=axis)

    def _constant(self, value: Any) -> str:
        from onnx import numpy_helper

        value = np.asarray(value)
        key = ("constant", value.dtype.str, value.shape, value.tobytes() if value.size < 9 else len(self.made))
        if key not in self.made:
            self.made[key] = f"int8_{len(self.made)}_{id(self)}"
            self.graph.initializer.append(numpy_helper.from_array(value, self.made[key]))
        return self.made[key]

    def _once(self, key: Any, make: Any) -> str:
        if key not in self.made:
            self.made[key] = make("_".join(map(str, reversed(key))))
        return self.made[key]

    def _node(self, kind: str, inputs: Iterable[str], output: str, **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(kind, [*inputs], [output], f"{output}_{kind}", **attributes))
        return output


def _value(attribute: Any) -> Any:
    from onnx import helper

    value = helper.get_attribute_value(attribute)
    return value.decode() if isinstance(value, bytes) else value


def _names_read(graph: Any) -> Iterator[str]:
    yield from (output.name for output in graph.output)
    for node in graph.node:
        yield from node.input
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _names_read(attribute.g)
