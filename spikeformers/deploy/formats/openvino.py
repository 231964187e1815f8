"""OpenVINO, by way of the ONNX file."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spikeformers.deploy.formats import onnx
from spikeformers.deploy.formats.files import METADATA, ExportedModel

if TYPE_CHECKING:
    from spikeformers.deploy.formats.graph import Graph


class OpenVinoModel(ExportedModel):
    """An `.xml` with its `.bin`."""

    kind, runtime, package = "OpenVINO", "openvino", "openvino"

    def _load(self, runtime: Any, path: str, threads: int) -> str | None:
        core = runtime.Core()
        model = core.read_model(path)
        settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
        self.request = core.compile_model(model, "CPU", settings).create_infer_request()
        return model.get_rt_info(METADATA).astype(str) if model.has_rt_info(METADATA) else None

    def _run(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        return [output.copy() for output in self.request.infer(dict(enumerate(inputs))).values()]


def write(graph: "Graph", folder: Path, text: str) -> Path:
    """Writes `graph` with settings; gives the `.xml`."""
    import openvino  # pyright: ignore[reportMissingImports]

    with tempfile.TemporaryDirectory() as other:
        model = openvino.convert_model(onnx.write(graph, Path(other), text))
        model.set_rt_info(text, METADATA)
        openvino.save_model(model, folder / f"{graph.name}.xml", compress_to_fp16=False)
    return folder / f"{graph.name}.xml"
