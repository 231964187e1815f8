"""What a checkpoint says of images it has not seen."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from spikeformers.data import eval_transform
from spikeformers.models._checkpoint import Checkpoint, build_from, read_checkpoint

_MODES = {1: "L", 3: "RGB"}


class Predictor:
    """A model with the preprocessing and class names of its checkpoint: images in, labels with confidence out.

        Predictor("runs/digits")(["seven.png"])     # [[("7", 0.98), ("1", 0.01), ...]]

    Raises what `from_pretrained` raises, and ValueError for a checkpoint that does not say how it sees images.
    """

    def __init__(self, checkpoint: str | Path | Checkpoint, **overrides: Any):
        if not isinstance(checkpoint, Checkpoint):
            checkpoint = read_checkpoint(checkpoint)
        self.model = build_from(checkpoint, **overrides)
        try:
            self.transform = eval_transform(**checkpoint.settings["preprocess"])
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"{checkpoint.path} does not say how its images are prepared: use one of a training run"
            ) from error
        self.classes = checkpoint.settings.get("classes") or [str(k) for k in range(self.model.num_classes)]
        if self.model.in_channels not in _MODES:
            raise ValueError(f"the model takes {self.model.in_channels} channels: images have 1 or 3")

    @torch.inference_mode()
    def __call__(self, images: Sequence[str | Path | Image.Image], *, top: int = 5) -> list[list[tuple[str, float]]]:
        """The `top` classes of each image, with the softmax of its logits, most confident first."""
        batch = torch.stack([self.transform(self._opened(image)) for image in images])  # B C H W
        confidence, labels = self.model(batch).softmax(-1).topk(min(top, len(self.classes)))
        return [
            [(self.classes[k], p) for k, p in zip(row_labels, row, strict=True)]
            for row_labels, row in zip(labels.tolist(), confidence.tolist(), strict=True)
        ]

    def _opened(self, image: str | Path | Image.Image) -> Image.Image:
        mode = _MODES[self.model.in_channels]
        if isinstance(image, Image.Image):
            return image.convert(mode)
        if not Path(image).is_file():
            raise FileNotFoundError(f"there is no image {image}")
        try:
            with Image.open(image) as opened:
                stored, converted = opened.mode, opened.convert(mode)
        except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, struct.error and more
            raise ValueError(f"{image} is not an image that can be read: leave it out, or --skip-broken") from error
        if stored.startswith(("I", "F")):  # Pillow clips these at 255: a 16-bit picture would come out white
            raise ValueError(f"{image} has more than 8 bits a channel (mode {stored}): save it with 8 bits")
        return converted
