"""NIR, a graph that other simulators and chips read."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spikeformers.deploy.formats.files import METADATA, ExportedModel

if TYPE_CHECKING:
    from torch import Tensor

    from spikeformers.models import SpikingTransformer


class NirModel(ExportedModel):
    """A `.nir`, run in torch by NIR's own definitions: for checks, not for speed."""

    kind, runtime, package = "NIR", "nir", "nir"

    def _load(self, runtime: Any, path: str, threads: int) -> str | None:
        self.graph = runtime.read(path)
        return self.graph.metadata.get(METADATA)

    def _run(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        import torch

        from spikeformers.deploy.nir_run import run_nir

        x = torch.from_numpy(inputs[0])
        frames = x if x.ndim == 5 else x.expand(self.time_steps, *x.shape)
        return [run_nir(self.graph, frames, self.graph.metadata["dt"]).mean(0).numpy()]


def graph_of(model: "SpikingTransformer", inputs: "Tensor") -> Any:
    """The graph of `to_nir`, whose neurons are for frames of one size."""
    from spikeformers.deploy.nir_graph import to_nir

    if inputs.shape[-3:] != model.image_shape:
        size, given = (" x ".join(map(str, shape)) for shape in (model.image_shape, inputs.shape[-3:]))
        raise ValueError(f"the NIR graph is for frames of {size}, the model's size, not of {given}: resize them")
    return to_nir(model)


def write(graph: Any, folder: Path, text: str) -> Path:
    """Writes `graph` with settings; gives the file."""
    import nir

    graph.metadata[METADATA], path = text, folder / "model.nir"
    nir.write(path, graph)
    return path
