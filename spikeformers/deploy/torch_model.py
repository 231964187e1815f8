"""A checkpoint's model as `Predictor` runs it: arrays in, arrays out."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spikeformers.checkpoints.load import build_from
from spikeformers.checkpoints.read import Checkpoint, read_checkpoint

_PLANNED = 16  # images that an engine is planned by


class TorchModel:
    """`[B, C, H, W]` or `[T, B, C, H, W]` float32 -> logits `[B, K]`.

    With `weights`, a `spike_engine` planned by the first batch answers in the model's place.
    """

    def __init__(
        self, checkpoint: str | Path | Checkpoint, weights: torch.dtype | None, threads: int | None, **overrides: Any
    ):
        if not isinstance(checkpoint, Checkpoint):
            checkpoint = read_checkpoint(checkpoint)
        self.path, self.settings, self.weights = checkpoint.path, checkpoint.settings, weights
        self.threads = threads
        self.network = build_from(checkpoint, **overrides)
        self.engine: nn.Module | None = None
        self.time_steps, self.in_channels = self.network.time_steps, self.network.in_channels
        self.num_classes = self.network.num_classes

    @torch.inference_mode()
    def __call__(self, batch: np.ndarray) -> np.ndarray:
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads or before)
        try:
            return self._answer(torch.from_numpy(np.ascontiguousarray(batch))).numpy()
        finally:
            torch.set_num_threads(before)

    def _answer(self, x: Tensor) -> Tensor:
        if self.weights is not None and self.engine is None:
            from spikeformers.deploy.engine import spike_engine  # imports torch's tracer

            self.engine = spike_engine(self.network, x[..., :_PLANNED, :, :, :], weights=self.weights)
        return (self.engine or self.network)(x)
