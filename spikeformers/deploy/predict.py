"""Classify images or event recordings with a checkpoint, or with an exported file, which needs no torch."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from spikeformers.data.inputs import ReadsFiles, input_reader, names_of, stored_preprocess
from spikeformers.deploy.formats import format_of, run_by
from spikeformers.deploy.threads import free_threads

if TYPE_CHECKING:
    import torch

    from spikeformers.checkpoints.read import Checkpoint

_TOGETHER = 32  # images or windows in a batch


class Predictor(ReadsFiles):
    """A model with the preprocessing and class names of its checkpoint: from files to labels with confidence.

        Predictor("runs/digits")(["seven.png"])     # [[("7", 0.98), ("1", 0.01), ...]]
        Predictor("runs/nmnist")(["seven.bin"])
        Predictor("digits/model.onnx")(["seven.png"])   # an exported file: for images, torch is not imported

    Args:
        checkpoint: A run folder, a weight file, a `Checkpoint` in memory, or a file of `sf.deploy.export`:
            `.onnx`, `.tflite`, `.pte` or `.xml`.
        weights: float32 or int8 to run a `spike_engine`, planned on the first inputs, instead of the model; else None.
        threads: How many threads compute; None means torch's setting, or, for an exported file, one per free core.
        **overrides: Arguments for `create_model`, as in `from_pretrained`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: What `from_pretrained` raises, or a checkpoint without preprocessing.
    """

    def __init__(
        self,
        checkpoint: "str | Path | Checkpoint",
        *,
        weights: "torch.dtype | None" = None,
        threads: int | None = None,
        **overrides: Any,
    ):
        if isinstance(checkpoint, str | Path) and (exported := format_of(checkpoint)):
            if weights is not None or overrides:
                options = ", ".join(overrides) or "weights (--engine)"
                raise ValueError(f"{checkpoint} is an exported file, which cannot be changed: leave out {options}")
            self.run: Any = run_by(exported, checkpoint, threads or free_threads())
        else:
            from spikeformers.deploy.torch_model import TorchModel

            self.run = TorchModel(checkpoint, weights, threads, **overrides)
        path, settings = self.run.path, self.run.settings
        if "task" in (settings.get("preprocess") or {}):
            raise ValueError(f"{path} finds boxes or masks: use DensePredictor, or predict, with its run folder")
        try:
            preprocess = stored_preprocess(settings)
            if "image_size" in overrides:
                preprocess = {**preprocess, "image_size": overrides["image_size"]}
            if "time_steps" in preprocess:  # recordings become as many frames as the model has steps
                preprocess = {**preprocess, "time_steps": self.run.time_steps}
            self.read = input_reader(preprocess, self.run.in_channels)
            self.preprocess: dict[str, Any] = preprocess
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path} has no preprocessing settings: use the checkpoint of a training run") from error
        if not self.run.num_classes:
            raise ValueError(f"{path} was trained without labels and has no classes: fine-tune it on a labelled set")
        self.classes = names_of(settings, self.run.num_classes, str(path))

    @property
    def model(self) -> Any:
        """The network of a checkpoint, or the `ExportedModel`."""
        return getattr(self.run, "network", self.run)

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
            ValueError: An input cannot be read (the message names it), or the answer is not finite.
        """
        if isinstance(inputs, str | Path | Image.Image):
            raise TypeError(f"inputs is a single {type(inputs).__name__}: put it in a list")
        if not len(inputs):
            return []
        return self.classify([self.read(one) for one in inputs], top=top)

    def classify(
        self, samples: Sequence[Sequence[np.ndarray]], *, top: int = 5, together: int = _TOGETHER
    ) -> list[list[tuple[str, float]]]:
        """Classifies inputs that were read by `self.read`.

        Args:
            samples: Arrays of each input: `[C, H, W]` of an image, `[T, C, H, W]` a window of a recording.
            top: How many classes to return.
            together: How many arrays go through the model at a time: memory grows with them, not with a recording.

        Returns:
            What a call returns.
        """
        arrays = [array for of_input in samples for array in of_input]
        batches = (arrays[first : first + together] for first in range(0, len(arrays), together))
        shares = np.concatenate([self._shares(batch) for batch in batches])
        starts = np.cumsum([0, *map(len, samples)])
        return [
            [(self.classes[k], float(mean[k])) for k in np.argsort(-mean, kind="stable")[:top]]
            for start, end in itertools.pairwise(starts)
            for mean in [shares[start:end].mean(0)]
        ]

    def _shares(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        """The softmax of the model's logits, `[B, K]`."""
        batch = np.stack(arrays)  # B C H W, or B T C H W
        shares = _softmax(self.run(np.moveaxis(batch, 1, 0) if batch.ndim == 5 else batch))
        if not np.isfinite(shares).all():
            raise ValueError(f"{self.run.path} answers with numbers that are not finite: its weights are damaged")
        return shares


def _softmax(logits: np.ndarray) -> np.ndarray:
    grown = np.exp(logits - logits.max(-1, keepdims=True))
    return grown / grown.sum(-1, keepdims=True)
