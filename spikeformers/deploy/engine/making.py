"""From a trained model to an engine."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from spikeformers.deploy.engine.engine import SpikeEngine, check_batch
from spikeformers.deploy.engine.graph import nodes_of
from spikeformers.deploy.engine.trace import trace
from spikeformers.models import SpikingTransformer
from spikeformers.models.dense import DenseTransformer
from spikeformers.models.folding import fold


class DenseEngine(nn.Module):
    """A detector or segmenter for inference on a CPU: it returns what the model returns.

    `engine` is its trunk and neck; `foreign` names what torch computes, the head and neurons that the kernels do not
    know. `spike_engine` makes one; it is not written to a file.
    """

    def __init__(self, model: DenseTransformer, engine: SpikeEngine):
        super().__init__()
        self.model, self.engine = fold(model).cpu().float(), engine
        self.foreign = (*engine.foreign, f"head ({type(model.head).__name__})")
        self.plan, self.num_classes, self.task = engine.plan, model.num_classes, model.task

    @property
    def head(self) -> nn.Module:
        return self.model.head

    @torch.inference_mode()
    def forward(self, x: Tensor) -> Any:
        """As the model in eval mode: `[B, C, H, W]` or `[T, B, C, H, W]` -> detections, or logits `[B, K, H, W]`."""
        return self.model.read_out(self.engine.forward_pyramid(x), x.cpu().float())


def spike_engine(
    model: SpikingTransformer, batches: Iterable[Tensor] | Tensor, *, weights: torch.dtype = torch.float32
) -> SpikeEngine | DenseEngine:
    """Makes an inference module of a trained model that is fast on a CPU, because it skips zeros.

        engine = sf.deploy.spike_engine(model, images)
        engine(images)                                  [B, K], as the model in eval mode

    Norms are folded, spikes are bytes, a product and its neuron are one pass. Whether a product is sparse or dense is
    measured, layer by layer, on `batches` (images the model will see: `[B, C, H, W]` or `[T, B, C, H, W]`, one tensor
    or several). `weights` int8 rounds the weights of sparse products to 8 bits, one scale per output channel. torch
    computes what the kernels do not know, and everything if there is no compiler. For a detector or segmenter, the
    engine runs trunk and neck, and torch computes the head.

    Raises ValueError for other weights, without a batch, and what the model raises for inputs of another shape.
    """
    if weights not in (torch.float32, torch.int8):
        raise ValueError(f"weights {weights} are not for an engine: give torch.float32 or torch.int8")
    batches = [batches] if isinstance(batches, Tensor) else list(batches)
    if not batches:
        raise ValueError("there is no batch to plan the engine with: give at least one")
    check_batch(batches[0])
    graph, constants, neurons, foreign = trace(model, batches[0])
    nodes, given, outputs = nodes_of(graph)
    engine = SpikeEngine(nodes, constants, neurons, (given, *outputs), batches[0].shape, weights, foreign).eval()
    with torch.inference_mode():
        engine.tune(batches)
    return DenseEngine(model, engine).eval() if isinstance(model, DenseTransformer) else engine
