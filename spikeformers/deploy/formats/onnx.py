"""ONNX, run by ONNX Runtime alone."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spikeformers.deploy.formats.files import METADATA, ExportedModel, State

if TYPE_CHECKING:
    from spikeformers.deploy.formats.graph import Graph


class OnnxModel(ExportedModel):
    """An ONNX file."""

    kind, runtime, package = "ONNX", "onnxruntime", "onnxruntime"
    session: Any

    def _load(self, runtime: Any, path: str, threads: int) -> str | None:
        options = runtime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # beside a busy process it costs most
        options.log_severity_level = 4
        self.session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.names = [one.name for one in self.session.get_inputs()]
        return self.session.get_modelmeta().custom_metadata_map.get(METADATA)

    def _run(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        return [np.asarray(y) for y in self.session.run(None, dict(zip(self.names, inputs, strict=True)))]


def write(graph: "Graph", folder: Path, text: str) -> Path:
    """Writes `graph` with settings; gives the file."""
    import torch

    path = folder / f"{graph.name}.onnx"
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
        raise RuntimeError("torch.onnx.export gave no program")
    for node in made.model.graph.all_nodes():  # stack traces: most of a small file, and paths of this machine
        node.metadata_props.clear()
    made.model.metadata_props[METADATA] = text
    made.save(path)
    if graph.form == "scan":
        import onnx

        from spikeformers.deploy.formats.onnx_scan import scan_of

        onnx.save(scan_of(onnx.load(path), (State(*one) for one in json.loads(text)["state"])), path)
    return path
