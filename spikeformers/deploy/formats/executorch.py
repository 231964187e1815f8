"""ExecuTorch, for one sample at a time, with XNNPACK for what it knows."""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spikeformers.deploy.formats.files import ExportedModel, attach, attached

if TYPE_CHECKING:
    from spikeformers.deploy.formats.graph import Graph


class ExecuTorchModel(ExportedModel):
    """A `.pte`, with the inputs and outputs of the traced program. In Python its runtime imports torch."""

    kind, runtime, package, alone = "ExecuTorch", "executorch.runtime", "executorch", True

    def _load(self, runtime: Any, path: str, threads: int) -> str | None:
        importlib.import_module("executorch.extension.pybindings.portable_lib")._unsafe_reset_threadpool(threads)
        self.program = runtime.Runtime.get().load_program(path)
        self.method = self.program.load_method("forward")
        return attached(path)

    def _run(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        import torch

        found = self.method.execute([torch.from_numpy(x) for x in inputs])
        return [y.numpy().copy() for y in found]  # the next call overwrites them


def write(graph: "Graph", folder: Path, text: str) -> Path:
    """Writes `graph` with settings; gives the file."""
    import torch

    exir = importlib.import_module("executorch.exir")
    xnnpack = importlib.import_module("executorch.backends.xnnpack.partition.xnnpack_partitioner")
    path, (module, example) = folder / f"{graph.name}.pte", graph.alone()
    with torch.no_grad():
        program = torch.export.export(module, example)
    lowered = exir.to_edge_transform_and_lower(program, partitioner=[xnnpack.XnnpackPartitioner()])
    path.write_bytes(lowered.to_executorch().buffer)
    attach(path, text)
    return path
