"""ExecuTorch, for one sample at a time, with XNNPACK for what it knows."""

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
        from executorch.extension.pybindings import portable_lib  # pyright: ignore[reportMissingImports]

        portable_lib._unsafe_reset_threadpool(threads)
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
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import (  # pyright: ignore[reportMissingImports]
        XnnpackPartitioner,
    )
    from executorch.exir import to_edge_transform_and_lower  # pyright: ignore[reportMissingImports]

    path, (module, example) = folder / f"{graph.name}.pte", graph.alone()
    with torch.no_grad():
        program = torch.export.export(module, example)
    lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
    path.write_bytes(lowered.to_executorch().buffer)
    attach(path, text)
    return path
