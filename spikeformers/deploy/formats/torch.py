"""torch's own exported programs."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spikeformers.deploy.formats.files import METADATA, ExportedModel

if TYPE_CHECKING:
    from spikeformers.deploy.formats.graph import Graph


class TorchProgram(ExportedModel):
    """A `.pt2`. Its loader unpickles: give it only files that you trust."""

    kind, runtime, package = "torch.export", "torch", "torch"

    def _load(self, runtime: Any, path: str, threads: int) -> str | None:  # threads are torch's own
        carried = {METADATA: ""}
        self.program = runtime.export.load(path, extra_files=carried).module()
        return carried[METADATA] or None

    def _run(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        import torch

        found = self.program(*map(torch.from_numpy, inputs))
        return [y.numpy() for y in ([found] if isinstance(found, torch.Tensor) else found)]


def write(graph: "Graph", folder: Path, text: str) -> Path:
    """Writes `graph` with settings; gives the file."""
    import torch

    path = folder / f"{graph.name}.pt2"
    torch.export.save(graph.program, path, extra_files={METADATA: text})
    return path
