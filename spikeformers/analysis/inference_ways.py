"""Ways to run a model for inference only, on a CPU: the spike engine, ONNX Runtime and OpenVINO."""

import importlib.util
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from spikeformers.deploy.engine import spike_engine
from spikeformers.models import SpikingTransformer
from spikeformers.models.folding import fold

INFERENCE_WAYS = ("engine", "engine-int8", "onnxruntime", "onnxruntime-int8", "openvino", "openvino-int8")
_NEEDS = {
    "onnxruntime": (("onnx", "onnxscript", "onnxruntime"), "spikeformers[onnx]"),
    "openvino": (("onnx", "onnxscript", "onnxruntime", "openvino"), "openvino spikeformers[onnx]"),
}


class Session(nn.Module):
    """A model exported to another library: `[B, C, H, W] -> [B, K]`, for the batch size it was exported with."""

    def __init__(self, call: Callable[[Any], Any]):
        super().__init__()
        self.call = call

    def forward(self, x: Tensor) -> Tensor:
        return torch.from_numpy(self.call(x.contiguous().numpy()))


def inference_way(way: str, model: SpikingTransformer, x: Tensor) -> nn.Module:
    """A model in eval mode for one of `INFERENCE_WAYS`, for inputs like `x`, with as many threads as torch uses.

    For ONNX Runtime and OpenVINO, int8 is ONNX Runtime's static quantisation of convolutions, per channel, calibrated
    on `x`, with weights of 7 bits on a processor without VNNI. Raises ImportError, naming what to install, if a library
    is missing, and ValueError for a detector or segmenter in one of these two.
    """
    library, eight = way.removesuffix("-int8"), way.endswith("-int8")
    if library == "engine":
        return spike_engine(model, x, weights=torch.int8 if eight else torch.float32)
    if model.task != "classification":  # boxes are chosen by shapes that depend on the data
        raise ValueError(
            f"{way} is timed for classifiers: leave it out of --ways; spikeformers export times {model.task}"
        )
    packages, install = _NEEDS[library]
    if missing := [package for package in packages if importlib.util.find_spec(package) is None]:
        raise ImportError(f"{way} needs {missing[0]}: pip install '{install}', or leave it out of --ways")
    with tempfile.TemporaryDirectory() as folder:
        path = _exported(model, x, Path(folder))
        path = _quantised(path, x) if eight else path
        return Session(_onnxruntime(path) if library == "onnxruntime" else _openvino(path))


def _exported(model: SpikingTransformer, x: Tensor, folder: Path) -> Path:
    program = torch.onnx.export(fold(model), (x,), dynamo=True, verbose=False)
    if program is None:
        raise RuntimeError("torch.onnx.export gave no program")
    program.save(folder / "model.onnx")
    return folder / "model.onnx"


def _quantised(path: Path, x: Tensor) -> Path:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Batch(CalibrationDataReader):
        def __init__(self, name: str):
            self.left = [{name: x.numpy()}]

        def get_next(self) -> Any:
            return self.left.pop() if self.left else None

    ready, made = path.with_name("ready.onnx"), path.with_name("int8.onnx")
    quant_pre_process(path, ready, skip_symbolic_shape=True)
    import onnx

    batch = Batch(onnx.load(ready, load_external_data=False).graph.input[0].name)
    quantize_static(
        ready, made, batch, quant_format=QuantFormat.QDQ, op_types_to_quantize=["Conv"], per_channel=True,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, reduce_range=not _has_vnni(),
    )  # fmt: skip
    return made


def _has_vnni() -> bool:
    """Whether sums of products of 8 bits cannot saturate. Where they can, ONNX Runtime advises `reduce_range`."""
    supported: Callable[[], bool] | None = getattr(torch.cpu, "_is_vnni_supported", None)
    return supported is not None and supported()


def _onnxruntime(path: Path) -> Callable[[Any], Any]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda x: session.run(None, {name: x})[0]


def _openvino(path: Path) -> Callable[[Any], Any]:
    import openvino  # pyright: ignore[reportMissingImports]

    core = openvino.Core()
    settings = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    request = core.compile_model(core.read_model(path), "CPU", settings).create_infer_request()
    return lambda x: request.infer({0: x})[0].copy()
