"""Classify images or event recordings with a checkpoint."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from spikeformers.checkpoints.load import build_from
from spikeformers.checkpoints.read import Checkpoint, read_checkpoint
from spikeformers.data import input_files, input_reader
from spikeformers.deploy.engine import spike_engine
from spikeformers.layers.time import time_first

_PLANNED = 16  # images that an engine is planned by


class Predictor:
    """A model with the preprocessing and class names of its checkpoint: from files to labels with confidence.

        Predictor("runs/digits")(["seven.png"])     # [[("7", 0.98), ("1", 0.01), ...]]
        Predictor("runs/nmnist")(["seven.bin"])

    Args:
        checkpoint: A run folder, a weight file, or a `Checkpoint` in memory.
        weights: float32 or int8: a `spike_engine`, made of the first inputs, answers in the model's place.
        **overrides: Arguments for `create_model`, as in `from_pretrained`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: What `from_pretrained` raises, or a checkpoint without preprocessing.
    """

    def __init__(self, checkpoint: str | Path | Checkpoint, *, weights: torch.dtype | None = None, **overrides: Any):
        if not isinstance(checkpoint, Checkpoint):
            checkpoint = read_checkpoint(checkpoint)
        self.model = build_from(checkpoint, **overrides)
        self.weights, self.engine = weights, None
        try:
            preprocess = checkpoint.settings["preprocess"]
            if checkpoint.settings.get("recipe", {}).get("data", {}).get("name") == "cifar10dvs":
                preprocess = {"transposed": True, **preprocess}  # runs up to 0.3.0 lack the setting
            if "time_steps" in preprocess:  # recordings become as many frames as the model has steps
                preprocess = {**preprocess, "time_steps": self.model.time_steps}
            self.read = input_reader(preprocess, self.model.in_channels)
            self.preprocess: dict[str, Any] = dict(preprocess)
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"{checkpoint.path} has no preprocessing settings: use the checkpoint of a training run"
            ) from error
        self.classes = checkpoint.settings.get("classes") or [str(k) for k in range(self.model.num_classes)]

    def files(self, given: str | Path) -> list[str]:
        """Lists the images or recordings in a folder and its subfolders.

        Args:
            given: A folder, or a file, which is returned as it is.

        Returns:
            Their paths.

        Raises:
            FileNotFoundError: There is none.
        """
        return input_files(self.preprocess, given)

    @torch.inference_mode()
    def __call__(self, inputs: Sequence[Any], *, top: int = 5) -> list[list[tuple[str, float]]]:
        """Classifies images or recordings.

        Args:
            inputs: Paths, PIL images, or recordings of a data set.
            top: How many classes to return.

        Returns:
            For each input, the likeliest classes with softmax confidence, in descending order; the mean over the
            windows of a recording.

        Raises:
            FileNotFoundError: There is no such file.
            TypeError: `inputs` is not a sequence.
            ValueError: An input, which is named, cannot be read.
        """
        if isinstance(inputs, str | Path | Image.Image):
            raise TypeError(f"inputs is a single {type(inputs).__name__}: put it in a list")
        if not len(inputs):
            return []
        samples = [self.read(one) for one in inputs]
        batch = torch.stack([sample for of_input in samples for sample in of_input])  # B C H W, or B T C H W
        batch = time_first(batch)
        if self.weights is not None and self.engine is None:
            self.engine = spike_engine(self.model, batch[..., :_PLANNED, :, :, :], weights=self.weights)
        logits = (self.engine or self.model)(batch)
        of_inputs = logits.softmax(-1).split([len(of_input) for of_input in samples])
        shares = torch.stack([of_input.mean(0) for of_input in of_inputs])
        confidence, labels = shares.topk(min(top, len(self.classes)))
        return [
            [(self.classes[k], p) for k, p in zip(row_labels, row, strict=True)]
            for row_labels, row in zip(labels.tolist(), confidence.tolist(), strict=True)
        ]
