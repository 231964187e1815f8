"""LiteRT (TensorFlow Lite), for one sample at a time: litert-torch writes it, ai-edge-litert alone runs it."""

import importlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spikeformers.deploy.formats.files import ExportedModel, attach, attached

if TYPE_CHECKING:
    from spikeformers.deploy.formats.graph import Graph


class LiteRtModel(ExportedModel):
    """A `.tflite`. Its signature has the inputs `x` and, of a step, `state_NAME`; the outputs are named as in ONNX."""

    kind, runtime, package, alone = "LiteRT", "ai_edge_litert.interpreter", "ai-edge-litert", True

    def _load(self, runtime: Any, path: str, threads: int) -> str | None:
        self.interpreter = runtime.Interpreter(path, num_threads=threads)
        self.signature = self.interpreter.get_signature_runner()
        return attached(path)

    def _run(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        names = ["x", *(f"state_{one.name}" for one in self.state)]
        found = self.signature(**dict(zip(names, inputs, strict=True)))
        return [found[name] for name in self.settings["outputs"]]


def write(graph: "Graph", folder: Path, text: str) -> Path:
    """Writes `graph` with settings; gives the file."""
    from torch import Tensor, nn

    litert_torch = importlib.import_module("litert_torch")
    litert_torch.config.show_progress = False  # it prints each pass
    module, (x, *state) = graph.alone()

    class Named(nn.Module):  # names in a file are those of a dict's keys
        def forward(self, x: Tensor, state: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
            found = module(x, *(state or {}).values())
            return dict(zip(graph.outputs, [found] if isinstance(found, Tensor) else found, strict=True))

    inputs = {"x": x} | ({"state": dict(zip(graph.inputs[1:], state, strict=True))} if state else {})
    path, settings = folder / f"{graph.name}.tflite", json.loads(text)
    litert_torch.convert(Named().eval(), sample_kwargs=inputs).export(str(path))
    for one in settings.get("state", ()):  # devices know no 64 bits: litert-torch halves them
        one[2] = one[2].replace("64", "32")
    attach(path, json.dumps(settings))
    return path
