"""What a checkpoint says of images or recordings it has not seen."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from spikeformers.checkpoints.load import build_from
from spikeformers.checkpoints.read import Checkpoint, read_checkpoint
from spikeformers.data import input_reader


class Predictor:
    """A model with the preprocessing and class names of its checkpoint: files in, labels with confidence out.

        Predictor("runs/digits")(["seven.png"])     # [[("7", 0.98), ("1", 0.01), ...]]
        Predictor("runs/nmnist")(["seven.bin"])

    Raises what `from_pretrained` raises, and ValueError for a checkpoint that does not say how it sees its input.
    """

    def __init__(self, checkpoint: str | Path | Checkpoint, **overrides: Any):
        if not isinstance(checkpoint, Checkpoint):
            checkpoint = read_checkpoint(checkpoint)
        self.model = build_from(checkpoint, **overrides)
        try:
            preprocess = checkpoint.settings["preprocess"]
            if "time_steps" in preprocess:  # of recordings as many frames are made as the model is asked for
                preprocess = {**preprocess, "time_steps": self.model.time_steps}
            self.read = input_reader(preprocess, self.model.in_channels)
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"{checkpoint.path} does not say how its images are prepared: use one of a training run"
            ) from error
        self.classes = checkpoint.settings.get("classes") or [str(k) for k in range(self.model.num_classes)]

    @torch.inference_mode()
    def __call__(self, inputs: Sequence[str | Path | Image.Image], *, top: int = 5) -> list[list[tuple[str, float]]]:
        """The `top` classes of each image or recording, with the softmax of its logits, most confident first."""
        batch = torch.stack([self.read(one) for one in inputs])  # B C H W, or B T C H W
        logits = self.model(batch.transpose(0, 1) if batch.ndim == 5 else batch)
        confidence, labels = logits.softmax(-1).topk(min(top, len(self.classes)))
        return [
            [(self.classes[k], p) for k, p in zip(row_labels, row, strict=True)]
            for row_labels, row in zip(labels.tolist(), confidence.tolist(), strict=True)
        ]
